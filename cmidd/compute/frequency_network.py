"""The sampling network of NCFM, which learns the frequencies to compare at."""

import torch
from torch import Tensor, nn

ROWS, COPIES = 4, 16


class FrequencyNetwork(nn.Module):
    """Frequencies ``[ROWS * COPIES, D]`` of noise ``[ROWS, D]``: three linear layers with batch norm, the last through
    tanh. As published, the rows are repeated, which changes no mean over them.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for activation in (nn.LeakyReLU(0.2), nn.LeakyReLU(0.2), nn.Tanh()):
            layers += [nn.Linear(features, features), nn.BatchNorm1d(features), activation]
        self.layers = nn.Sequential(*layers)

    def forward(self, noise: Tensor) -> Tensor:
        frequencies: Tensor = self.layers(noise)
        return frequencies.repeat(COPIES, 1)

    @torch.no_grad()
    def draw(self, generator: torch.Generator) -> "FrequencyNetwork":
        """Draw the parameters as torch does by itself, from a generator of its own."""
        for module in self.layers:
            if isinstance(module, nn.Linear):
                bound = module.in_features**-0.5
                for parameter in (module.weight, module.bias):
                    uniform = torch.rand(parameter.shape, generator=generator)
                    parameter.copy_((2 * uniform - 1) * bound)
        return self
