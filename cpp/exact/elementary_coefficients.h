// Written by tests/exhaustive/coefficients.py: the constants of the elementary functions.
#pragma once

namespace torchnotary::exact {

// (e^r - 1 - r) / r^2 on [-ln2/2, ln2/2]
inline constexpr double kExp[] = {
    0x1.0000000000000p-1,  0x1.5555555553b7dp-3,  0x1.5555555554cb8p-5,
    0x1.1111111c45d5bp-7,  0x1.6c16c1738ecf7p-10, 0x1.a019adabfb6abp-13,
    0x1.a019c9ab213aap-16, 0x1.72c720b2e07bfp-19, 0x1.28803926c8ea8p-22};
// (2 atanh(s) / s - 2) / s^2 in s^2, |s| <= (sqrt2 - 1) / (sqrt2 + 1)
inline constexpr double kAtanh[] = {
    0x1.5555555555558p-1, 0x1.99999999952e2p-2, 0x1.2492492df148dp-2, 0x1.c71c62e5800a1p-3,
    0x1.7462b4ab2ef6bp-3, 0x1.39fe606542ddep-3, 0x1.2b584aae78a57p-3};
// (sin(r) / r - 1) / r^2 in r^2, |r| <= pi/2
inline constexpr double kSin[] = {
    -0x1.5555555555555p-3,  0x1.1111111111107p-7,  -0x1.a01a01a018aadp-13, 0x1.71de3a5456716p-19,
    -0x1.ae6455a1d7087p-26, 0x1.6124015b5ee3ap-33, -0x1.ae5138c1216b3p-41, 0x1.89a4866f527ebp-49};
// erf(x) / x = P(x^2) / Q(x^2)
inline constexpr double kErfP[] = {
    0x1.20dd750429b76p+0,  0x1.958180384caafp-3,  0x1.f120b19d7319bp-5,  0x1.61a6706720156p-8,
    0x1.5ac1c7453a33fp-11, 0x1.25a75ee4dadc9p-15, 0x1.23fafbc48fcdcp-19, 0x1.0f9dccd9cd170p-24,
    0x1.f3510ffd67946p-30, 0x1.3f683cd2a5e5cp-37, -0x1.c05fd017fdd6cp-47};
//
inline constexpr double kErfQ[] = {
    0x1.0000000000000p+0,  0x1.04825c40a601cp-1,  0x1.f9600f63fb3cdp-4,  0x1.34a727dbf324ap-6,
    0x1.07c0437de6f7ap-9,  0x1.4a7707a4de749p-13, 0x1.33d6993151649p-17, 0x1.a37c2ad81140bp-22,
    0x1.87891b5b05446p-27, 0x1.98332df2b237bp-33};
// tanh(x) / x = P(x^2) / Q(x^2)
inline constexpr double kTanhP[] = {
    0x1.ffffffffffffbp-1,  0x1.3243a2c274f3dp-3,  0x1.7171204966669p-8,
    0x1.539dae3db58eep-14, 0x1.0e98000c49c1bp-21, 0x1.72d6829bb839cp-30,
    0x1.72ee52e29c845p-40, 0x1.18c8f89f44bb5p-52, -0x1.7513fa0cd4ec8p-66};
//
inline constexpr double kTanhQ[] = {
    0x1.0000000000000p+0,  0x1.ee7726b68fcb4p-2,  0x1.107cf1abbd7fbp-5,  0x1.8aee7dab3c0eap-11,
    0x1.dad2a60df9117p-18, 0x1.f490b005481a4p-26, 0x1.ad390f2cae2f7p-35, 0x1.b60cc48b5efc1p-46};
inline constexpr double kLn2High = 0x1.62e42fefa39efp-1;
inline constexpr double kLn2Low = 0x1.abc9e3b39803fp-56;
inline constexpr double kLog2E = 0x1.71547652b82fep+0;
inline constexpr double kPiHigh = 0x1.921fb54442d18p+1;
inline constexpr double kPiLow = 0x1.1a62633145c07p-53;
inline constexpr double kInvPi = 0x1.45f306dc9c883p-2;
inline constexpr double kLog10Two = 0x1.34413509f79ffp-2;
inline constexpr double kLog10E = 0x1.bcb7b1526e50ep-2;

}  // namespace torchnotary::exact
