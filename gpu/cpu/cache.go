package cpu

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"unsafe"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/program"
)

// cache is the keys and values of all pages: for each of the program's caches
//
//	[NumPages]{keys [Heads, PageSize, KeyDim], values [Heads, PageSize, ValueDim]}
//
// so that what one head reads of a page is contiguous. Elements are float32,
// bfloat16, or int8; behind those of each key and each value is what one of them
// counts, float32.
//
// Attention widens a page to float32, once for all queries of a block. Rounding
// to bfloat16 moves the test checkpoints' logits by 0.015 to 0.1.
type cache struct {
	memory []byte
	layers map[*program.Cache]*layerCache
}

// layerCache is one of the program's caches.
type layerCache struct {
	*program.Cache
	memory     []byte
	dtype      model.DType
	pageSize   int
	key, value int // bytes of a head's
	page       int // bytes of a page, keys and values
}

// CacheTypes are those of keys and values that there are, the usual first.
var CacheTypes = []model.DType{model.BFloat16, model.Float32, model.Int8}

// cacheType decides how keys and values are kept: as is asked for, or as bfloat16;
// as float32 beside weights that are.
func cacheType(asked, weights model.DType) (model.DType, error) {
	switch {
	case slices.Contains(CacheTypes, asked):
		return asked, nil
	case asked != "" && asked != "auto":
	case weights == model.Float32:
		return model.Float32, nil
	default:
		return CacheTypes[0], nil
	}
	return "", fmt.Errorf("cpu: keys and values of type %q; the CPU device keeps float32, bfloat16 or int8", asked)
}

func newCache(p *program.Program, info *device.Info) (cache, error) {
	b, err := allocate(int(info.KVBytes))
	if err != nil {
		return cache{}, fmt.Errorf("cpu: memory for %d pages of keys and values (%d MiB): %w", info.NumPages, info.KVBytes>>20, err)
	}
	c := cache{b, map[*program.Cache]*layerCache{}}
	for _, l := range p.Caches {
		one := &layerCache{
			Cache: l, dtype: info.KVDType, pageSize: info.PageSize,
			key: model.CacheRow(info.KVDType, l.KeyDim), value: model.CacheRow(info.KVDType, l.ValueDim),
		}
		if l.Shared {
			one.value = 0
		}
		one.page = info.PageSize * l.Heads * (one.key + one.value)
		n := one.page * info.NumPages
		one.memory = b[:n:n]
		c.layers[l] = one
		b = b[n:]
	}
	return c, nil
}

func (c *cache) of(l *program.Cache) *layerCache { return c.layers[l] }

// keys and values return what a head has in a page; shared values are the leading
// elements of keys.
func (c *layerCache) keys(page int32, head int) []byte {
	return c.memory[int(page)*c.page+head*c.pageSize*c.key:][:c.pageSize*c.key]
}

func (c *layerCache) values(page int32, head int) []byte {
	if c.Shared {
		return c.keys(page, head)
	}
	return c.memory[int(page)*c.page+c.pageSize*(c.Heads*c.key+head*c.value):][:c.pageSize*c.value]
}

// valueBytes is how far apart the values of a head lie.
func (c *layerCache) valueBytes() int {
	if c.Shared {
		return c.key
	}
	return c.value
}

// enter writes a token's key and value of a head.
func (c *layerCache) enter(k *kernels, page int32, offset, head int, key, value []float32) {
	c.narrow(k, c.keys(page, head)[offset*c.key:][:c.key], key)
	if !c.Shared {
		c.narrow(k, c.values(page, head)[offset*c.value:][:c.value], value)
	}
}

// narrow writes elements as the cache keeps them.
func (c *layerCache) narrow(k *kernels, to []byte, x []float32) {
	switch c.dtype {
	case model.Float32:
		copy(unsafe.Slice((*float32)(unsafe.Pointer(&to[0])), len(x)), x)
	case model.BFloat16:
		if k.bf16.perPair == 1 && len(x)%2 == 0 { // pairs are two elements one behind the other
			k.bf16.round(unsafe.Slice((*float32)(unsafe.Pointer(&to[0])), len(x)/2), x)
			return
		}
		rounded := unsafe.Slice((*uint16)(unsafe.Pointer(&to[0])), len(x))
		for i, v := range x {
			rounded[i] = toBF16(v)
		}
	case model.Int8:
		scale, inverse := scaleOf(k.whole.sizeOf(&x[0], len(x)), 127)
		k.whole.round(&to[0], &x[0], inverse, len(x))
		binary.NativeEndian.PutUint32(to[len(to)-4:], math.Float32bits(scale))
	}
}

// valueStride is how far apart the values of a head lie when they are float32.
func (c *layerCache) valueStride() int {
	if c.Shared {
		return c.KeyDim
	}
	return c.ValueDim
}

// add is kernels.values for this cache's values: out += p·v of m queries and n
// positions. Shared ones are not contiguous: position by position, the same sums.
func (c *layerCache) add(k *kernels, out, p *float32, ldp, m int, v *float32, n int) {
	if !c.Shared {
		k.values(out, p, ldp, m, v, n, c.ValueDim)
		return
	}
	for t := range n {
		k.values(out, at(p, t), ldp, m, at(v, t*c.KeyDim), 1, c.ValueDim)
	}
}

// widener makes pages float32, one at a time, in memory of its own.
type widener struct {
	*layerCache
	k    *kernels
	to   []float32 // [PageSize, dim]
	page int32     // that is there; below 0: none
}

// keys and values are n of a head's in a page.
func (w *widener) keys(page int32, head, n int) *float32 {
	return w.wide(page, w.layerCache.keys(page, head), n, w.KeyDim, w.key)
}

func (w *widener) values(page int32, head, n int) *float32 {
	if w.Shared {
		return w.keys(page, head, n)
	}
	return w.wide(page, w.layerCache.values(page, head), n, w.ValueDim, w.value)
}

func (w *widener) wide(page int32, from []byte, n, dim, stride int) *float32 {
	if w.dtype == model.Float32 {
		return (*float32)(unsafe.Pointer(&from[0]))
	}
	if w.page == page {
		return &w.to[0]
	}
	w.page = page
	if w.dtype == model.BFloat16 {
		w.k.widenBF16(&w.to[0], &from[0], n*dim)
		return &w.to[0]
	}
	for i := range n {
		row := from[i*stride:][:stride]
		w.k.widenInt8(&w.to[i*dim], &row[0], dim, math.Float32frombits(binary.NativeEndian.Uint32(row[stride-4:])))
	}
	return &w.to[0]
}

// widenBF16 widens n elements.
func widenBF16(to *float32, from *byte, n int) {
	wide := unsafe.Slice(to, n)
	for i, v := range unsafe.Slice((*uint16)(unsafe.Pointer(from)), n) {
		wide[i] = model.FromBF16(v)
	}
}

// widenInt8 writes n whole numbers times what one counts.
func widenInt8(to *float32, from *byte, n int, scale float32) {
	wide := unsafe.Slice(to, n)
	for i, v := range unsafe.Slice((*int8)(unsafe.Pointer(from)), n) {
		wide[i] = float32(v) * scale
	}
}
