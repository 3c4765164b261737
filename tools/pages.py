"""Hooks of MkDocs (``mkdocs.yml``): pages that lie elsewhere in the repository, links to them, and the notebook."""

import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(\]\()([^)\s]+)(\))|((?:src|href)=\")([^\"]+)(\")")
ELSEWHERE = {  # By their place in the site; all others lie in docs/.
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "evidence/index.md": "results/evidence/README.md",
    **{
        f"evidence/{path.name}": f"results/evidence/{path.name}"
        for path in (ROOT / "results" / "evidence").glob("*.md")
        if path.name != "README.md"
    },
}

PICTURES = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "results" / "evidence").glob("*.png"))]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie elsewhere, the notebook as a page, and every other file that a page links to."""
    for place, path in ELSEWHERE.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / path)))
    for file in [file for file in files if file.src_uri.endswith(".ipynb")]:
        files.append(
            File.generated(config, f"{file.src_uri[:-6]}.md", content=page_of_notebook(Path(file.abs_src_path)))
        )
    for file in list(files.documentation_pages()):
        for path in (inside(file.src_uri, link) for link in links(file.content_string)):
            if path is None or path.endswith(".md") or not (ROOT / path).is_file():
                continue
            if not files.get_file_from_path(place_of(path)):
                files.append(File.generated(config, place_of(path), abs_src_path=str(ROOT / path)))
    for picture in PICTURES:  # The page of the evidence links to them.
        if not files.get_file_from_path(place_of(picture)):
            files.append(File.generated(config, place_of(picture), abs_src_path=str(ROOT / picture)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at where the site has their files; what is not there is left for MkDocs to complain of."""

    def moved(link: str) -> str:
        path = inside(page.file.src_uri, link)
        if path is None or files.get_file_from_path(place_of(path)) is None or place_of(path) == page.file.src_uri:
            return link
        fragment = urlsplit(link).fragment
        found = posixpath.relpath(place_of(path), posixpath.dirname(page.file.src_uri) or ".")
        return f"{found}#{fragment}" if fragment else found

    return each_link(markdown, moved)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leave the roles of Sphinx out of docstrings, which are written for readers of the code as well."""
    return re.sub(r":(?:attr|class|data|func|meth|mod):<code>", "<code>", html)


def links(markdown: str) -> list[str]:
    """Every link and picture of a page."""
    return [found[1] or found[4] for found in LINK.findall(markdown)]


def each_link(markdown: str, change: Callable[[str], str]) -> str:
    """A page with its links changed."""

    def changed(found: re.Match[str]) -> str:
        before, link, after = [part for part in found.groups() if part is not None]
        return f"{before}{change(link)}{after}"

    return LINK.sub(changed, markdown)


def inside(page: str, link: str) -> str | None:
    """The path in the repository that a page of the site links to; None for other sites and the page itself."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc or not parts.path:
        return None
    folder = posixpath.dirname(ELSEWHERE.get(page, f"docs/{page}"))
    return posixpath.normpath(posixpath.join(folder, unquote(parts.path)))


def place_of(path: str) -> str:
    """Where a file of the repository is in the site: its first page stands for the README, a page for a notebook."""
    if path == "README.md":
        return "index.md"
    for place, elsewhere in ELSEWHERE.items():
        if elsewhere == path:
            return place
    if not path.startswith("docs/"):
        return f"files/{path}"
    return re.sub(r"\.ipynb$", ".md", path.removeprefix("docs/"))


def page_of_notebook(path: Path) -> str:
    """The cells of a notebook as Markdown, with what they printed and drew."""
    parts: list[str] = []
    for cell in nbformat.read(path, as_version=4).cells:
        parts.append(cell.source if cell.cell_type == "markdown" else f"```python\n{cell.source}\n```")
        for output in cell.get("outputs", []):
            parts.append(shown(output))
    parts.append(f"[The notebook itself]({path.name}).")
    return "\n\n".join(part for part in parts if part)


def shown(output: Any) -> str:
    """An output of a cell: its picture where it has one, else its text."""
    data = output.get("data", {})
    if "image/png" in data:
        return f'<img alt="what the cell shows" src="data:image/png;base64,{data["image/png"].strip()}">'
    text = output.get("text") or data.get("text/plain", "")
    return f"```text\n{text.rstrip()}\n```" if text.strip() else ""
