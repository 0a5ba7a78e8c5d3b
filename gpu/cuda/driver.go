//go:build cuda

package cuda

/*
#include <cuda.h>
#include <string.h>

// One parameter per kernel: a struct. With overlap the kernel may be scheduled
// before its predecessor in the stream has ended; see wait_for_previous.
static CUresult troupe_launch(CUfunction f, unsigned x, unsigned y, unsigned block, unsigned shared, unsigned cluster, CUstream s, int overlap, int together, void *args) {
	void *params[1] = {args};
	CUlaunchAttribute attributes[3];
	CUlaunchConfig config;
	memset(&config, 0, sizeof config);
	memset(attributes, 0, sizeof attributes);
	if (overlap) {
		attributes[0].id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
		attributes[0].value.programmaticStreamSerializationAllowed = 1;
		config.numAttrs++;
	}
	if (cluster > 1) {
		CUlaunchAttribute *a = &attributes[config.numAttrs++];
		a->id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
		a->value.clusterDim.x = cluster;
		a->value.clusterDim.y = a->value.clusterDim.z = 1;
	}
	if (together) {
		CUlaunchAttribute *a = &attributes[config.numAttrs++];
		a->id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE;
		a->value.cooperative = 1;
	}
	config.gridDimX = x;
	config.gridDimY = y;
	config.gridDimZ = 1;
	config.blockDimX = block;
	config.blockDimY = 1;
	config.blockDimZ = 1;
	config.sharedMemBytes = shared;
	config.hStream = s;
	config.attrs = attributes;
	return cuLaunchKernelEx(&config, f, params, NULL);
}

static CUresult troupe_capture_end(CUstream s, CUgraphExec *exec) {
	CUgraph graph = NULL;
	CUresult r = cuStreamEndCapture(s, &graph);
	if (r != CUDA_SUCCESS) return r;
	r = cuGraphInstantiateWithFlags(exec, graph, 0);
	cuGraphDestroy(graph);
	return r;
}

// Rows of columns bf16, of which tiles of 64 columns and so many rows are copied; with
// pairs of each sixteen rows those of even numbers first.
static CUresult troupe_map(uint64_t *map, CUdeviceptr at, uint64_t rows, uint64_t columns, uint32_t box, int pairs) {
	CUtensorMap made;
	cuuint64_t size[4] = {columns, rows}, stride[3] = {columns * 2};
	cuuint32_t tile[4] = {64, box}, step[4] = {1, 1, 1, 1};
	if (pairs) {
		size[1] = tile[1] = 8, size[2] = tile[2] = 2, size[3] = rows / 16, tile[3] = box / 16;
		stride[0] = 4 * columns, stride[1] = 2 * columns, stride[2] = 32 * columns;
	}
	CUresult r = cuTensorMapEncodeTiled(&made, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, pairs ? 4 : 2, (void *)at, size, stride, tile, step,
		CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
	if (!r) memcpy(map, &made, sizeof made);
	return r;
}

// Pieces of bf16: see kernel.PassTensor.
static CUresult troupe_pieces(uint64_t *map, CUdeviceptr at, const uint64_t *size, const uint64_t *stride, const uint32_t *piece) {
	CUtensorMap made;
	cuuint32_t step[5] = {1, 1, 1, 1, 1};
	CUresult r = cuTensorMapEncodeTiled(&made, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 5, (void *)at, (const cuuint64_t *)size, (const cuuint64_t *)stride, piece, step,
		CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
	if (!r) memcpy(map, &made, sizeof made);
	return r;
}

static const char *troupe_error(CUresult r) {
	const char *text = NULL;
	if (cuGetErrorString(r, &text) != CUDA_SUCCESS || !text) text = "unknown error";
	return text;
}
static const char *troupe_error_name(CUresult r) {
	const char *text = NULL;
	if (cuGetErrorName(r, &text) != CUDA_SUCCESS || !text) text = "CUDA_ERROR_?";
	return text;
}
*/
import "C"

import (
	"fmt"
	"unsafe"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"gorgonia.org/cu"
)

// What gorgonia.org/cu lacks: launches with attributes, capture and graphs,
// pinned memory, function attributes, occupancy.

func driverError(call string, r C.CUresult) error {
	if r == C.CUDA_SUCCESS {
		return nil
	}
	return fmt.Errorf("%s: %s (%s)", call, C.GoString(C.troupe_error(r)), C.GoString(C.troupe_error_name(r)))
}

// start opens the driver and initialises it.
func start() error {
	if err := need(libcuda); err != nil {
		return err
	}
	r := C.troupe_init()
	switch r {
	case C.CUDA_SUCCESS:
		return nil
	case C.CUDA_ERROR_STUB_LIBRARY:
		return fmt.Errorf("cuda: %s is the stub that programs are linked with; install NVIDIA's driver, or put its directory ahead on LD_LIBRARY_PATH", libcuda.opened().Path)
	}
	return fmt.Errorf("cuda: %w", driverError("cuInit", r))
}

// driverVersion is the newest CUDA that an open driver can run: "13.0".
func driverVersion() string {
	var v C.int
	if C.cuDriverGetVersion(&v) != C.CUDA_SUCCESS {
		return ""
	}
	return fmt.Sprintf("%d.%d", v/1000, v%1000/10)
}

// A cu.Stream and a cu.Event are one pointer wide: the handle.
func streamOf(s cu.Stream) C.CUstream       { return *(*C.CUstream)(unsafe.Pointer(&s)) }
func eventOf(e cu.Event) C.CUevent          { return *(*C.CUevent)(unsafe.Pointer(&e)) }
func functionOf(f cu.Function) C.CUfunction { return *(*C.CUfunction)(unsafe.Pointer(&f)) }

func launchKernel(f cu.Function, l kernel.Launch, shared int, s cu.Stream, overlap bool) error {
	r := C.troupe_launch(functionOf(f), C.uint(l.Grid[0]), C.uint(l.Grid[1]), C.uint(l.Block), C.uint(shared), C.uint(l.Cluster), streamOf(s), flag(overlap), flag(l.Together), l.Args)
	return driverError("launching "+l.Kernel.Name, r)
}

// tensorMap writes a tensor down for the copy engine.
func tensorMap(t kernel.Tensor) (m kernel.TensorMap, err error) {
	r := C.troupe_map((*C.uint64_t)(&m[0]), C.CUdeviceptr(t.At), C.uint64_t(t.Rows), C.uint64_t(t.Columns), C.uint32_t(t.Box), flag(t.Pairs))
	return m, driverError("cuTensorMapEncodeTiled", r)
}

// passMap writes a matrix down for the copy engine as decode_pass reads it.
func passMap(t kernel.PassTensor) (m kernel.TensorMap, err error) {
	var size [5]C.uint64_t
	var stride [4]C.uint64_t
	var piece [5]C.uint32_t
	for i := range size {
		size[i], piece[i] = C.uint64_t(t.Size[i]), C.uint32_t(t.Box[i])
	}
	for i := range stride {
		stride[i] = C.uint64_t(t.Stride[i])
	}
	r := C.troupe_pieces((*C.uint64_t)(&m[0]), C.CUdeviceptr(t.At), &size[0], &stride[0], &piece[0])
	return m, driverError("cuTensorMapEncodeTiled", r)
}

// loadFunction brings a kernel to the device now, not when it is first launched.
func loadFunction(f cu.Function) error {
	return driverError("cuFuncLoad", C.cuFuncLoad(functionOf(f)))
}

func setSharedMemory(f cu.Function, bytes int) error {
	return driverError("cuFuncSetAttribute", C.cuFuncSetAttribute(functionOf(f), C.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, C.int(bytes)))
}

// blocksPerSM is how many blocks of a kernel a multiprocessor holds at once.
func blocksPerSM(f cu.Function, threads, shared int) (int, error) {
	var n C.int
	err := driverError("cuOccupancyMaxActiveBlocksPerMultiprocessor",
		C.cuOccupancyMaxActiveBlocksPerMultiprocessor(&n, functionOf(f), C.int(threads), C.size_t(shared)))
	return int(n), err
}

func attribute(dev cu.Device, a C.CUdevice_attribute) (int, error) {
	var v C.int
	err := driverError("cuDeviceGetAttribute", C.cuDeviceGetAttribute(&v, a, C.CUdevice(dev)))
	return int(v), err
}

// sharedPerBlock is the dynamic shared memory a block may ask for, in bytes.
func sharedPerBlock(dev cu.Device) (int, error) {
	return attribute(dev, C.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)
}

// pinned is host memory that the device reads and writes, at the same address.
type pinned []byte

func allocatePinned(n int) (pinned, error) {
	var p unsafe.Pointer
	r := C.cuMemHostAlloc(&p, C.size_t(n), C.CU_MEMHOSTALLOC_PORTABLE|C.CU_MEMHOSTALLOC_DEVICEMAP)
	if err := driverError("cuMemHostAlloc", r); err != nil {
		return nil, fmt.Errorf("%d bytes of pinned memory: %w", n, err)
	}
	return unsafe.Slice((*byte)(p), n), nil
}

func (p pinned) free() error {
	if len(p) == 0 {
		return nil
	}
	return driverError("cuMemFreeHost", C.cuMemFreeHost(unsafe.Pointer(&p[0])))
}

func (p pinned) address() kernel.Ptr { return kernel.Ptr(uintptr(unsafe.Pointer(&p[0]))) }

func freeBytes() (free, total int64, err error) {
	var f, t C.size_t
	err = driverError("cuMemGetInfo", C.cuMemGetInfo(&f, &t))
	return int64(f), int64(t), err
}

// graph is captured work, ready to be launched again and again.
type graph struct{ exec C.CUgraphExec }

// capture records what f enqueues on s instead of running it.
func capture(s cu.Stream, f func() error) (graph, error) {
	var g graph
	if err := driverError("cuStreamBeginCapture", C.cuStreamBeginCapture(streamOf(s), C.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)); err != nil {
		return g, err
	}
	err := f()
	if end := driverError("ending a capture", C.troupe_capture_end(streamOf(s), &g.exec)); err == nil {
		err = end
	}
	if err != nil {
		return graph{}, err
	}
	return g, driverError("cuGraphUpload", C.cuGraphUpload(g.exec, streamOf(s)))
}

func (g graph) launch(s cu.Stream) error {
	return driverError("cuGraphLaunch", C.cuGraphLaunch(g.exec, streamOf(s)))
}

func (g graph) free() error {
	if g.exec == nil {
		return nil
	}
	return driverError("cuGraphExecDestroy", C.cuGraphExecDestroy(g.exec))
}

func destroyContext(ctx cu.CUContext) error {
	return driverError("cuCtxDestroy", C.cuCtxDestroy(*(*C.CUcontext)(unsafe.Pointer(&ctx))))
}

// elapsed is the time from one event to another in nanoseconds; both are over.
func elapsed(from, to cu.Event) (int64, error) {
	var ms C.float
	err := driverError("cuEventElapsedTime", C.cuEventElapsedTime(&ms, eventOf(from), eventOf(to)))
	return int64(float64(ms) * 1e6), err
}
