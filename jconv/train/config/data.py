"""What a run learns from."""

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from jconv.kernels import KERNELS
from jconv.train.config.section import Int, Real, Section, Seed

if TYPE_CHECKING:
    KernelName: TypeAlias = str
else:
    KernelName = Literal[*KERNELS]

HeldOut = Annotated[Real, Field(ge=0.01, lt=0.5)]  # share of the examples
Path = Annotated[str, Field(min_length=1, max_length=4096)]  # from the current folder, or with ~
Word = Annotated[str, Field(min_length=1, max_length=200)]
Side = Annotated[Int, Field(ge=1, le=1024)]  # pixels
MiB = Annotated[Int, Field(ge=1, le=2**20)]
Classes = Annotated[Int, Field(ge=2, le=10**5)]


class Digits(Section):
    """The 1,797 digits of 8x8 pixels that ship with jconv."""

    kind: Literal["digits"] = "digits"
    validation: HeldOut = 0.1
    test: HeldOut = 0.2
    seed: Seed = 0  # draws the split


class FilteredPhotos(Section):
    """Patches of photographs, to be mapped to what a hidden kernel makes of them."""

    kind: Literal["filtered_photos"] = "filtered_photos"
    kernel: KernelName = "prewitt"
    patches: Annotated[Int, Field(ge=10, le=10**6)] = 1024
    size: Annotated[Int, Field(ge=8, le=256)] = 32  # pixels of a patch's side
    validation: HeldOut = 0.1
    test: HeldOut = 0.1
    seed: Seed = 0


class Photos(Section):
    """Patches of photographs, to be told apart by the photograph they were cut from."""

    kind: Literal["photos"] = "photos"
    patches: Annotated[Int, Field(ge=10, le=10**5)] = 3000
    size: Annotated[Int, Field(ge=8, le=256)] = 32  # pixels of a patch's side
    grey: bool = False
    validation: HeldOut = 0.1
    test: HeldOut = 0.1
    seed: Seed = 0


class FashionMnist(Section):
    """60,000 and 10,000 grey images of clothes, from IDX files; Debian's by default."""

    kind: Literal["fashion_mnist"] = "fashion_mnist"
    folder: Path = "/usr/share/datasets/fashion-mnist"
    validation: HeldOut = 0.1  # of the images to learn from
    seed: Seed = 0
    memory: MiB = 1024  # that the images may take


class Mnist(Section):
    """Handwritten digits, from IDX files in a folder."""

    kind: Literal["mnist"] = "mnist"
    folder: Path
    validation: HeldOut = 0.1  # of the images to learn from
    seed: Seed = 0
    memory: MiB = 1024  # that the images may take


class Npz(Section):
    """Images and labels that are arrays of one .npz file."""

    kind: Literal["npz"] = "npz"
    path: Path
    images: Word = "images"  # names of arrays
    labels: Word = "labels"
    test_images: Word | None = None
    test_labels: Word | None = None
    classes: Classes | None = None  # as many as there are in the labels, if not given
    validation: HeldOut = 0.1
    test: HeldOut = 0.2  # where no images to test on are apart
    seed: Seed = 0
    memory: MiB = 1024  # that the images may take

    @model_validator(mode="after")
    def _test_is_whole(self):
        if (self.test_images is None) != (self.test_labels is None):
            raise ValueError("`test_images` and `test_labels` must be given both, or neither")
        return self


class ImageFolder(Section):
    """PNG and JPEG images in a folder, one sub-folder for each class."""

    kind: Literal["image_folder"] = "image_folder"
    folder: Path
    size: tuple[Side, Side]  # rows and columns
    grey: bool = False
    validation: HeldOut = 0.1
    test: HeldOut = 0.2
    seed: Seed = 0
    skip_at_most: Annotated[Int, Field(ge=0, le=10**9)] = 0  # images that cannot be decoded
    memory: MiB = 1024  # images that would take more are decoded as they are needed


class HuggingFace(Section):
    """A data set of Hugging Face: labelled images, from the hub or a folder."""

    kind: Literal["huggingface"] = "huggingface"
    path: Path  # a name on the hub, or a folder
    size: tuple[Side, Side]  # rows and columns
    name: Word | None = None  # which configuration of it
    split: Word = "train"
    test_split: Word | None = "test"
    image: Word = "image"  # names of columns
    label: Word = "label"
    grey: bool = False
    validation: HeldOut = 0.1
    test: HeldOut = 0.2  # where `test_split` is null
    seed: Seed = 0
    skip_at_most: Annotated[Int, Field(ge=0, le=10**9)] = 0  # images that cannot be decoded
    memory: MiB = 1024  # images that would take more are decoded as they are needed


Data = Annotated[
    Digits | FilteredPhotos | Photos | FashionMnist | Mnist | Npz | ImageFolder | HuggingFace,
    Field(discriminator="kind"),
]
