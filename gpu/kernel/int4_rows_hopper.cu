// int4_rows_8_*, int4_rows_16_*: the kernels of int4_rows.cuh, by groups of 128 inputs.
extern "C" __global__ void __launch_bounds__(512, 1) int4_rows_8_1(const __grid_constant__ Int4Args a) { rows<1, 1, 16, 6, 3>(a); }
extern "C" __global__ void __launch_bounds__(512, 1) int4_rows_8_2(const __grid_constant__ Int4Args a) { rows<1, 2, 16, 6, 3>(a); }
extern "C" __global__ void __launch_bounds__(384, 1) int4_rows_8_4(const __grid_constant__ Int4Args a) { rows<1, 4, 12, 6, 3>(a); }
extern "C" __global__ void __launch_bounds__(384, 1) int4_rows_16_1(const __grid_constant__ Int4Args a) { rows<2, 1, 12, 3, 4>(a); }
extern "C" __global__ void __launch_bounds__(384, 1) int4_rows_16_2(const __grid_constant__ Int4Args a) { rows<2, 2, 12, 2, 4>(a); }
extern "C" __global__ void __launch_bounds__(256, 1) int4_rows_16_4(const __grid_constant__ Int4Args a) { rows<2, 4, 8, 2, 4>(a); }
