// Written by tests/exhaustive/coefficients.py: the constants of the elementary functions.
#pragma once

namespace torchnotary::exact {

// (e^r - 1 - r) / r^2
inline constexpr double kExp[] = {
    0x1.0000000000000p-1,  0x1.5555555553b7dp-3,  0x1.5555555554cb8p-5,
    0x1.1111111c45d5bp-7,  0x1.6c16c1738ecf7p-10, 0x1.a019adabfb6abp-13,
    0x1.a019c9ab213aap-16, 0x1.72c720b2e07bfp-19, 0x1.28803926c8ea8p-22};
// (2 atanh(s) / s - 2) / s^2, in s^2
inline constexpr double kAtanh[] = {0x1.55555555553b8p-1, 0x1.9999999b8677ap-2,
                                    0x1.2492462af84abp-2, 0x1.c71fccd953895p-3,
                                    0x1.7382dbfa1ce75p-3, 0x1.546a3155bacbfp-3};
// (sin(r) / r - 1) / r^2, in r^2
inline constexpr double kSin[] = {
    -0x1.555555555555dp-3,  0x1.1111111111147p-7,  -0x1.a01a01a018aadp-13, 0x1.71de3a5456716p-19,
    -0x1.ae6455a1d7087p-26, 0x1.6124015b5ee3ap-33, -0x1.ae5138c1216b3p-41, 0x1.89a4866f527ebp-49};
// tanh(x) / x = P(x^2) / Q(x^2)
inline constexpr double kTanhP[] = {
    0x1.ffffffffffffbp-1,  0x1.3243a2c274f3dp-3,  0x1.7171204966669p-8,
    0x1.539dae3db58eep-14, 0x1.0e98000c49c1bp-21, 0x1.72d6829bb839cp-30,
    0x1.72ee52e29c845p-40, 0x1.18c8f89f44bb5p-52, -0x1.7513fa0cd4ec8p-66};
inline constexpr double kTanhQ[] = {
    0x1.0000000000000p+0,  0x1.ee7726b68fcb4p-2,  0x1.107cf1abbd7fbp-5,  0x1.8aee7dab3c0eap-11,
    0x1.dad2a60df9117p-18, 0x1.f490b005481a4p-26, 0x1.ad390f2cae2f7p-35, 0x1.b60cc48b5efc1p-46};
// erf(x) / x = P(x^2) / Q(x^2)
inline constexpr double kErfP[] = {
    0x1.20dd750429b6dp+0,  0x1.9ad931e0dbb5ap-3,  0x1.ee37c571a60e0p-5,  0x1.6175aefa3de2ap-8,
    0x1.4adec6061a9c7p-11, 0x1.136a399fc959ap-15, 0x1.ecf104118c7c9p-20, 0x1.a4400b559c88fp-25,
    0x1.11da54736d004p-30, 0x1.728de59e5de46p-39};
inline constexpr double kErfQ[] = {
    0x1.0000000000000p+0,  0x1.05b161d5d0053p-1,  0x1.fb3e0876fbc3fp-4,  0x1.334ffb2539cbdp-6,
    0x1.01e5892f10a9ep-9,  0x1.38ac7ce1f9aa6p-13, 0x1.1355373b700f3p-17, 0x1.5472d20d7df3fp-22,
    0x1.08dfa5cbbc66bp-27, 0x1.57282d4e56facp-34};
// e^(x^2) erfc(x) = P(x) / Q(x)
inline constexpr double kErfcP[] = {
    0x1.0000000000000p+0,  0x1.165cbf50f874fp+1, 0x1.2bddc50a4ce54p+1, 0x1.9aa2b02f83530p+0,
    0x1.85ef69ad5a8ffp-1,  0x1.0929ce4c0c901p-2, 0x1.0238e30cba0e9p-4, 0x1.5c73cf790565dp-7,
    0x1.29e8fb0937c8dp-10, 0x1.f320784276087p-15};
inline constexpr double kErfcQ[] = {
    0x1.0000000000000p+0, 0x1.a6cb79d30d501p+1, 0x1.44783680e2facp+2, 0x1.3187c560a34e3p+2,
    0x1.8819f53857460p+1, 0x1.679dadf027401p+0, 0x1.df96029e5981bp-2, 0x1.cdcfecbaf3855p-4,
    0x1.35abfd10a8a74p-6, 0x1.0804144b7f8bfp-9, 0x1.ba56f2aca3e02p-14};

inline constexpr double kLn2High = 0x1.62e42fefa39efp-1;
inline constexpr double kLn2Low = 0x1.abc9e3b39803fp-56;
inline constexpr double kPiHigh = 0x1.921fb54442d18p+1;
inline constexpr double kPiLow = 0x1.1a62633145c07p-53;
inline constexpr double kLog2E = 0x1.71547652b82fep+0;
inline constexpr double kInvPi = 0x1.45f306dc9c883p-2;
inline constexpr double kLog10Two = 0x1.34413509f79ffp-2;
inline constexpr double kLog10E = 0x1.bcb7b1526e50ep-2;

}  // namespace torchnotary::exact
