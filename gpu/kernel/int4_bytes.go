package kernel

import "fmt"

const (
	// maxInt4Bytes is the most rows that kernels of int4_bytes.cuh take.
	maxInt4Bytes = 4

	// A block of those has so many warps, a warp so many stages of copies. Two blocks share
	// a panel's inputs.
	bytesWarps, bytesStages, bytesSplit = 16, 3, 2

	// bytesMost is the shared memory that a block has at most, bytesLeast more than half of
	// a multiprocessor's, so that it has one block: where it may have two, kernels that start
	// early come to lie two on one and none on the next.
	bytesMost, bytesLeast = 227 << 10, 116 << 10
)

// int4Bytes are the kernels by how many groups 128 inputs have.
var int4Bytes = func() map[int]*Kernel {
	all := map[int]*Kernel{}
	for groups := 1; groups <= 4; groups *= 2 {
		all[groups] = newKernel[Int4Args]("int4_bytes_hopper.cu", fmt.Sprintf("int4_bytes_%d", groups), func(Shape) int { return bytesMost })
	}
	return all
}()

// bytesShared is the shared memory of a block whose cluster has so many panels, in so many
// sets: of gates and ups, or of one.
func bytesShared(n, chunks, groups, sets, panels int) int {
	facts, stages := 16, bytesWarps*bytesStages
	if groups == 4 {
		facts = 32
	}
	barriers, ring := ceil(16+8*stages, 128)*128, stages*2*(1024+64*groups)
	rows := ceil(chunks, bytesSplit) * n * (256 + facts)
	sums, letters := panels+bytesWarps-1, (bytesSplit-1)*ceil(sets, bytesSplit)*(panels/sets)
	return barriers + ring + rows + (sums+letters)*n*64 + ceil(panels*8, 16)*16
}

// int4BytesLaunch is Int4Product of few rows on Hopper; false: it does not fit.
func int4BytesLaunch(a *Int4Args, gate bool, processors int) (Launch, bool) {
	sets, each := int(a.Out)/16, 1
	if gate {
		a.Form, sets, each = int4Gated, sets/2, 2
	}
	shared, clusters := 0, min(max(processors/bytesSplit, 1), sets)
	for ; ; clusters *= 2 { // more than run at once, if need be
		clusters = min(clusters, sets)
		most := ceil(sets, clusters)
		shared = bytesShared(int(a.N), int(a.In)/128, int(a.Groups), most, most*each)
		if shared <= bytesMost || clusters == sets {
			break
		}
	}
	if bytes := Int4Bytes(int(a.Out), int(a.In), 128/int(a.Groups)); shared > bytesMost || clusters*sets >= 1<<32/clusters || bytes >= 1<<32 {
		return Launch{}, false
	}
	a.Split, a.Inverse = bytesSplit, 0
	if clusters > 1 {
		a.Inverse = uint32(1<<32/clusters + 1)
	}
	l := launchOf(int4Bytes[int(a.Groups)], clusters*bytesSplit, 1, 32*bytesWarps, a)
	l.Cluster, l.Shared = bytesSplit, max(shared, bytesLeast)
	return l, true
}
