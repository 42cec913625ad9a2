"""The base class of config sections, and the types of their values."""

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _no_bool(value: Any) -> Any:
    # YAML reads `yes` and `on` as True, which Python accepts as the number 1.
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


Int = Annotated[int, BeforeValidator(_no_bool)]
Real = Annotated[float, BeforeValidator(_no_bool)]
Count = Annotated[Int, Field(ge=1, le=10**9)]
Seed = Annotated[Int, Field(ge=0, lt=2**32)]
Share = Annotated[Real, Field(ge=0, lt=1)]
Positive = Annotated[Real, Field(gt=0)]


class Section(BaseModel):
    """An immutable section of a config, in which an unknown key is an error.

    Attributes:
      renamed: former keys and their present names, for the error that such a key gives.
    """

    renamed: ClassVar[dict[str, str]] = {}
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
