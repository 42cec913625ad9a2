"""The `data` section of a config: one class per `kind`."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field, model_validator

from jconv.kernels import KERNELS
from jconv.train.config.section import Int, Real, Section, Seed

if TYPE_CHECKING:
    KernelName: TypeAlias = str
else:
    KernelName = Literal[*KERNELS]

Fraction = Annotated[Real, Field(ge=0.01, lt=0.5)]  # of the examples
PathStr = Annotated[str, Field(min_length=1, max_length=4096)]  # ~ is the home folder
Name = Annotated[str, Field(min_length=1, max_length=200)]
Side = Annotated[Int, Field(ge=1, le=1024)]  # pixels
PatchSide = Annotated[Int, Field(ge=8, le=256)]  # pixels
Skips = Annotated[Int, Field(ge=0, le=10**9)]  # images
MiB = Annotated[Int, Field(ge=1, le=2**20)]
NumClasses = Annotated[Int, Field(ge=2, le=10**5)]


class Digits(Section):
    """The 1,797 digits of 8x8 pixels that ship with jconv."""

    kind: Literal["digits"] = "digits"
    validation: Fraction = 0.1  # fraction of the examples
    test: Fraction = 0.2  # fraction of the examples
    seed: Seed = 0  # draws the split


class FilteredPhotos(Section):
    """Patches of photographs; the targets are the patches filtered with a hidden kernel."""

    kind: Literal["filtered_photos"] = "filtered_photos"
    kernel: KernelName = "prewitt"
    patches: Annotated[Int, Field(ge=10, le=10**6)] = 1024
    size: PatchSide = 32  # side length of a patch
    validation: Fraction = 0.1  # fraction of the examples
    test: Fraction = 0.1  # fraction of the examples
    seed: Seed = 0  # draws the patches and the split


class Photos(Section):
    """Patches of photographs; the class is the photograph that a patch was cut from."""

    kind: Literal["photos"] = "photos"
    patches: Annotated[Int, Field(ge=10, le=10**5)] = 3000
    size: PatchSide = 32  # side length of a patch
    grey: bool = False  # one channel instead of three
    validation: Fraction = 0.1  # fraction of the examples
    test: Fraction = 0.1  # fraction of the examples
    seed: Seed = 0  # draws the patches and the split


class IdxFolder(Section):
    """Four IDX files in a folder: training and test images, and their labels."""

    kind: Literal["mnist", "fashion_mnist"]
    folder: PathStr
    validation: Fraction = 0.1  # fraction of the training images
    seed: Seed = 0  # draws the validation images
    memory: MiB = 1024  # limit of the images


class Mnist(IdxFolder):
    """MNIST's handwritten digits, from IDX files in a folder."""

    kind: Literal["mnist"] = "mnist"


class FashionMnist(IdxFolder):
    """Fashion-MNIST's grey images of clothes, by default from Debian's package."""

    kind: Literal["fashion_mnist"] = "fashion_mnist"
    folder: PathStr = "/usr/share/datasets/fashion-mnist"


class Npz(Section):
    """Images and labels from the arrays of one .npz file."""

    renamed: ClassVar = {"classes": "num_classes"}

    kind: Literal["npz"] = "npz"
    path: PathStr
    images: Name = "images"  # name of an array
    labels: Name = "labels"  # name of an array
    test_images: Name | None = None  # name of an array
    test_labels: Name | None = None  # name of an array
    num_classes: NumClasses | None = None  # by default the largest label + 1
    validation: Fraction = 0.1  # fraction of the examples
    test: Fraction = 0.2  # fraction of the images, if there are no `test_images`
    seed: Seed = 0  # draws the split
    memory: MiB = 1024  # limit of the images

    @model_validator(mode="after")
    def _check_test_arrays(self):
        if (self.test_images is None) != (self.test_labels is None):
            raise ValueError("`test_images` and `test_labels` must be given both, or neither")
        return self


class ImageFolder(Section):
    """PNG and JPEG images in a folder with one sub-folder per class."""

    renamed: ClassVar = {"skip_at_most": "max_skipped"}

    kind: Literal["image_folder"] = "image_folder"
    folder: PathStr
    size: tuple[Side, Side]  # rows and columns
    grey: bool = False  # one channel instead of three
    validation: Fraction = 0.1  # fraction of the examples
    test: Fraction = 0.2  # fraction of the examples
    seed: Seed = 0  # draws the split
    max_skipped: Skips = 0  # images that may be skipped because they cannot be decoded
    memory: MiB = 1024  # images that exceed it are decoded on demand


class HuggingFace(Section):
    """Labelled images from a data set of Hugging Face, on the hub or in a folder."""

    renamed: ClassVar = {"skip_at_most": "max_skipped"}

    kind: Literal["huggingface"] = "huggingface"
    path: PathStr  # a name on the hub, or a folder
    size: tuple[Side, Side]  # rows and columns
    name: Name | None = None  # configuration of the data set
    split: Name = "train"
    test_split: Name | None = "test"
    image: Name = "image"  # name of a column
    label: Name = "label"  # name of a column
    grey: bool = False  # one channel instead of three
    validation: Fraction = 0.1  # fraction of the examples
    test: Fraction = 0.2  # fraction of the images, if `test_split` is null
    seed: Seed = 0  # draws the split
    max_skipped: Skips = 0  # images that may be skipped because they cannot be decoded
    memory: MiB = 1024  # images that exceed it are decoded on demand


Data = Annotated[
    Digits | FilteredPhotos | Photos | FashionMnist | Mnist | Npz | ImageFolder | HuggingFace,
    Field(discriminator="kind"),
]
