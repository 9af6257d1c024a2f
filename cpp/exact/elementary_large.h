// sin, cos and tan of arguments from 2^24 on, one at a time: the reduction by π needs more digits
// of π than vectors have room for.
#pragma once

namespace torchnotary::exact {

// Correctly rounded for |x| > 2^24; the canonical NaN for infinities and NaNs.
float large_sin(float x);
float large_cos(float x);
float large_tan(float x);

}  // namespace torchnotary::exact
