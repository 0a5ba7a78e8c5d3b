// copy_states: what recurrent layers keep of requests, from place to place.
//   states  State [S]   f32 [places, elements], of each layer
//   copies  Copy [N]    no place is written that another copy reads or writes
// Launch:  (S·STATE_PARTS, N) of 256
// Limit:   8 bytes an element
// Checked: TestCopyStates
struct State {
  float* at;
  long long elements;
};
struct Copy { int from, to; };

struct CopyStatesArgs {
  const State* states;
  const Copy* copies;
};

extern "C" __global__ void __launch_bounds__(256) copy_states(const __grid_constant__ CopyStatesArgs a) {
  wait_for_previous();
  let_next_start();
  State s = a.states[blockIdx.x / STATE_PARTS];
  Copy c = a.copies[blockIdx.y];
  const float* from = s.at + c.from * s.elements;
  float* to = s.at + c.to * s.elements;
  long long first = (long long)(blockIdx.x % STATE_PARTS) * blockDim.x + threadIdx.x, stride = STATE_PARTS * blockDim.x;
  if (s.elements % 4 == 0) {
    for (long long i = first; i < s.elements / 4; i += stride) store16(to + i * 4, load16(from + i * 4));
  } else {
    for (long long i = first; i < s.elements; i += stride) to[i] = from[i];
  }
}
