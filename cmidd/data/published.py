"""The published data sets, one row each: all that is known of one stands here."""

from dataclasses import dataclass

from cmidd.data import imagenet


@dataclass(frozen=True)
class Published:
    """A data set that others publish figures for.

    Attributes:
        title: as tables name it.
        shape: channels, height and width of an image, in the published figures.
        classes: their names, in the order of the labels, for files that do not say them.
        mean, std: of the channels, as the reference implementations have them.
        torchvision: its class there, where it has one; ``files`` are where its files lie under ``data.root``.
        unpacked: SHA-256 of those files, in their order, where they lie unpacked and torchvision checks them no more.
        hub: where the hub's repository keeps its parquet files, and in which columns;
            ``hub_test`` is how it calls the test set.
    """

    title: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    torchvision: str = ""
    files: str = ""
    unpacked: tuple[str, ...] = ()
    hub: tuple[str, str, str] | None = None
    hub_test: str = "test"


_IDX = "raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte"
_DIGITS = "0 - zero,1 - one,2 - two,3 - three,4 - four,5 - five,6 - six,7 - seven,8 - eight,9 - nine"
_CLOTHES = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"
_CIFAR10 = "airplane,automobile,bird,cat,deer,dog,frog,horse,ship,truck"
_CIFAR100 = (
    "apple,aquarium_fish,baby,bear,beaver,bed,bee,beetle,bicycle,bottle,bowl,boy,bridge,bus,butterfly,"
    "camel,can,castle,caterpillar,cattle,chair,chimpanzee,clock,cloud,cockroach,couch,crab,crocodile,cup,dinosaur,dolphin,"
    "elephant,flatfish,forest,fox,girl,hamster,house,kangaroo,keyboard,lamp,lawn_mower,leopard,lion,lizard,lobster,man,"
    "maple_tree,motorcycle,mountain,mouse,mushroom,oak_tree,orange,orchid,otter,palm_tree,pear,pickup_truck,pine_tree,"
    "plain,plate,poppy,porcupine,possum,rabbit,raccoon,ray,road,rocket,rose,sea,seal,shark,shrew,skunk,skyscraper,snail,"
    "snake,spider,squirrel,streetcar,sunflower,sweet_pepper,table,tank,telephone,television,tiger,tractor,train,trout,"
    "tulip,turtle,wardrobe,whale,willow_tree,wolf,woman,worm"
)

PUBLISHED = {
    "mnist": Published(
        title="MNIST",
        shape=(1, 28, 28),
        classes=tuple(_DIGITS.split(",")),
        mean=(0.1307,),
        std=(0.3081,),
        torchvision="MNIST",
        files=f"MNIST/{_IDX}",
        unpacked=(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    "fashion_mnist": Published(
        title="Fashion-MNIST",
        shape=(1, 28, 28),
        classes=tuple(_CLOTHES.split(",")),
        mean=(0.2861,),
        std=(0.3530,),
        torchvision="FashionMNIST",
        files=f"FashionMNIST/{_IDX}",
        unpacked=(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
    "svhn": Published(
        title="SVHN",
        shape=(3, 32, 32),
        classes=tuple("0123456789"),
        mean=(0.4377, 0.4438, 0.4728),
        std=(0.1980, 0.2010, 0.1970),
        torchvision="SVHN",
        files="{train,test}_32x32.mat",
        hub=("cropped_digits", "image", "label"),
    ),
    "cifar10": Published(
        title="CIFAR10",
        shape=(3, 32, 32),
        classes=tuple(_CIFAR10.split(",")),
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),
        torchvision="CIFAR10",
        files="cifar-10-batches-py/",
        hub=("plain_text", "img", "label"),
    ),
    "cifar100": Published(
        title="CIFAR100",
        shape=(3, 32, 32),
        classes=tuple(_CIFAR100.split(",")),
        mean=(0.5071, 0.4866, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        torchvision="CIFAR100",
        files="cifar-100-python/",
        hub=("cifar100", "img", "fine_label"),
    ),
}


# Those that are folders of pictures (or files made of them), which nothing downloads.
OF_PICTURES = {
    "tiny_imagenet": Published(
        title="Tiny-ImageNet",
        shape=(3, 64, 64),
        classes=imagenet.TINY,
        mean=imagenet.MEAN,
        std=imagenet.STD,
        hub=("data", "image", "label"),
        hub_test="valid",
    ),
    **{
        name: Published(
            title=name.capitalize(), shape=(3, 128, 128), classes=wnids, mean=imagenet.MEAN, std=imagenet.STD
        )
        for name, wnids in imagenet.SUBSETS.items()
    },
}

# Means and deviations of channels by the name that dataset.statistics gives them.
STATISTICS = {name: (row.mean, row.std) for name, row in PUBLISHED.items()} | {
    "imagenet": (imagenet.MEAN, imagenet.STD)
}


def title_of(name: str) -> str:
    """A data set as tables name it."""
    rows = {**PUBLISHED, **OF_PICTURES}
    return rows[name].title if name in rows else name.capitalize()
