"""The Inception modules, as published, one file for each generation."""

from jconv.nn.inception.auxiliary_head import AuxiliaryHead as AuxiliaryHead
from jconv.nn.inception.auxiliary_head import AuxiliaryHeadV3 as AuxiliaryHeadV3
from jconv.nn.inception.residual import InceptionResNetA as InceptionResNetA
from jconv.nn.inception.residual import InceptionResNetB as InceptionResNetB
from jconv.nn.inception.residual import InceptionResNetC as InceptionResNetC
from jconv.nn.inception.residual import InceptionResNetReductionA as InceptionResNetReductionA
from jconv.nn.inception.residual import InceptionResNetReductionB as InceptionResNetReductionB
from jconv.nn.inception.residual import InceptionResNetStem as InceptionResNetStem
from jconv.nn.inception.v1 import Inception as Inception
from jconv.nn.inception.v3 import InceptionA as InceptionA
from jconv.nn.inception.v3 import InceptionB as InceptionB
from jconv.nn.inception.v3 import InceptionC as InceptionC
from jconv.nn.inception.v3 import InceptionD as InceptionD
from jconv.nn.inception.v3 import InceptionE as InceptionE
from jconv.nn.inception.v4 import InceptionV4A as InceptionV4A
from jconv.nn.inception.v4 import InceptionV4B as InceptionV4B
from jconv.nn.inception.v4 import InceptionV4C as InceptionV4C
from jconv.nn.inception.v4 import InceptionV4ReductionA as InceptionV4ReductionA
from jconv.nn.inception.v4 import InceptionV4ReductionB as InceptionV4ReductionB
from jconv.nn.inception.v4 import InceptionV4Stem as InceptionV4Stem
