//go:build cuda

package cuda

/*
#include <cuda.h>
#include "nccl.h"

static int troupe_all_reduce(CUdeviceptr at, size_t n, int type, ncclComm_t c, CUstream s) {
	return ncclAllReduce((void *)at, (void *)at, n, type, troupe_nccl_sum, c, s);
}
*/
import "C"

import (
	"fmt"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/kernel"
	"gorgonia.org/cu"
)

// communicator is a rank of NCCL's, for GPUs that cannot reach each other's memory.
// It works in the primary context of its GPU, which is current.
type communicator struct {
	handle C.ncclComm_t
	stream cu.Stream
}

// communicate joins all ranks.
func communicate(rank *device.Rank, s cu.Stream) (*communicator, error) {
	if err := need(libnccl); err != nil {
		return nil, err
	}
	var id C.ncclUniqueId
	if rank.Index == 0 {
		if err := ncclError("ncclGetUniqueId", C.ncclGetUniqueId(&id)); err != nil {
			return nil, err
		}
	}
	if err := device.Meet(rank, id, func(all []C.ncclUniqueId) { id = all[0] }); err != nil {
		return nil, err
	}
	c := &communicator{stream: s}
	return c, ncclError("ncclCommInitRank", C.ncclCommInitRank(&c.handle, C.int(rank.Ranks), id, C.int(rank.Index)))
}

// sum is a collective's.
func (c *communicator) sum(at kernel.Ptr, n int, half bool) error {
	t := C.int(C.troupe_nccl_float32)
	if half {
		t = C.troupe_nccl_bfloat16
	}
	return ncclError("ncclAllReduce", C.troupe_all_reduce(C.CUdeviceptr(at), C.size_t(n), t, c.handle, streamOf(c.stream)))
}

// clear is a collective's.
func (c *communicator) clear(at kernel.Ptr, bytes int64) error {
	return cu.MemsetD8Async(cu.DevicePtr(at), 0, bytes, c.stream)
}

// close leaves the others, without waiting for any of them.
func (c *communicator) close() error {
	if c == nil || c.handle == nil {
		return nil
	}
	return ncclError("ncclCommAbort", C.ncclCommAbort(c.handle))
}

func ncclError(call string, r C.int) error {
	if r == 0 {
		return nil
	}
	return fmt.Errorf("cuda: %s: %s", call, C.GoString(C.ncclGetErrorString(r)))
}

// ncclVersion is that of the open library: "2.27.7".
func ncclVersion() string {
	var v C.int
	if C.ncclGetVersion(&v) != 0 {
		return ""
	}
	return fmt.Sprintf("%d.%d.%d", v/10000, v%10000/100, v%100)
}
