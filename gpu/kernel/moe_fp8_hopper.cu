// The products of experts in E4M3, for many tokens: see moe_hopper_codes.cuh.
extern "C" __global__ void __launch_bounds__(384, 1) moe_up_hopper_fp8(const __grid_constant__ ExpertArgs a) { experts<8, true, true>(a); }
extern "C" __global__ void __launch_bounds__(384, 1) moe_down_hopper_fp8(const __grid_constant__ ExpertArgs a) { experts<8, false, false>(a); }
extern "C" __global__ void __launch_bounds__(384, 1) moe_plain_hopper_fp8(const __grid_constant__ ExpertArgs a) { experts<8, false, true>(a); }
