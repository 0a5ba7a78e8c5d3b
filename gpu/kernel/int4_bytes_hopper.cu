// int4_bytes_1, int4_bytes_2, int4_bytes_4: the kernels of int4_bytes.cuh, by groups of 128
// inputs.
extern "C" __global__ void __launch_bounds__(512, 1) int4_bytes_1(const __grid_constant__ Int4Args a) { bytes<1, 16, 3>(a); }
extern "C" __global__ void __launch_bounds__(512, 1) int4_bytes_2(const __grid_constant__ Int4Args a) { bytes<2, 16, 3>(a); }
extern "C" __global__ void __launch_bounds__(512, 1) int4_bytes_4(const __grid_constant__ Int4Args a) { bytes<4, 16, 3>(a); }
