package cpu

import (
	"encoding/binary"
	"sync"
	"unsafe"

	"golang.org/x/sys/cpu"

	"github.com/troupe-llm/troupe/gpu/model"
)

// haveTiles says that the processor multiplies tiles of bytes and that the system lets
// this process use them. It is asked for at first use: threads' stacks for signals must
// hold the tiles from then on, as Go's do.
var haveTiles = sync.OnceValue(func() bool {
	return haveVNNI && cpu.X86.HasAMXTile && cpu.X86.HasAMXInt8 && permitTiles()
})

const (
	// fewestTiled is the rows, fewestInGroup the inputs of a group, from which on tiles
	// were faster than vectors; see bench/results/cpu.md. Numbers of 4 bits, unpacked for
	// them, were slower but at 240 rows, those of 6 bits in groups of 16 always; other
	// groups were not measured.
	fewestTiled   = 16
	fewestInGroup = 128
	// tiledRows is the rows of two tiles, which share what is read of a panel.
	tiledRows = 32
	// tiledInputs is about how much of a panel passes by all rows before the rest does:
	// 32 KiB of it.
	tiledInputs = 1024
	// tiledRoom is the float32 that sums take: see asm/amx.go.
	tiledRoom  = 2 * tiledRows * panelWidth
	configRoom = 64 / 4
	lineBytes  = 64 // of the cache
)

// multiplyTiled is whole.tiled: exact sums of groups are what every instruction set
// makes, and tiles are no other.
func multiplyTiled(m *matrix, y []float32, ldy int, a operand, row, end, p int, room *[]float32) bool {
	step := m.tiledStep()
	if step == 0 || end-row < fewestTiled || m.group < fewestInGroup || m.bits() != 8 || m.scales != model.Floats {
		return false
	}
	for i := row; i < end; i++ {
		clear(y[i*ldy:][:panelWidth])
	}
	slice := max(tiledInputs/m.group, 1) * m.group
	grow(room, lineBytes/4+tiledRoom+configRoom)
	sums := aligned(*room)
	config := bytesOf(sums[tiledRoom:][:configRoom])
	for first := 0; first < m.in; first += slice {
		n, group := min(slice, m.in-first), first/m.group
		w, _ := m.block(p, group)
		numbers := a.numbers[group*(rowHead+m.group):]
		for i := row; i < end; {
			calls := (end - i + tiledRows - 1) / tiledRows
			rows := (end - i + calls - 1) / calls
			one := rows
			if rows > tiledRows/2 {
				one = (rows + 1) / 2
			}
			configure(config, one, rows-one, step)
			m.tiledProduct(one < rows)(&config[0], &y[i*ldy], ldy, &numbers[i*a.bytes], a.bytes,
				&w[0], n, m.group, step, one, rows, &bytesOf(sums)[0])
			i += rows
		}
	}
	return true
}

// tiledFunc adds the products of up to 16 rows, or 32 as two tiles, by a panel of 8 bits to c.
type tiledFunc func(config *byte, c *float32, ldc int, a *byte, lda int, w *byte, k, group, step, first, rows int, sums *byte)

func (f format) tiledProduct(two bool) tiledFunc {
	switch {
	case two && f.offsets:
		return tilesInt8Offsetx2AMX
	case two:
		return tilesInt8x2AMX
	case f.offsets:
		return tilesInt8Offsetx1AMX
	}
	return tilesInt8x1AMX
}

// tiledStep is how many inner indices tiles take at a time: as many as groups are
// whole multiples of; 0: they take none.
func (m *matrix) tiledStep() int {
	for _, step := range []int{64, 32, 16} {
		if m.group%step == 0 && m.in%step == 0 {
			return step
		}
	}
	return 0
}

// configure says what registers of tiles hold: sums of rows and more rows by two times 16
// outputs, two tiles of step inner indices by outputs, and one of rows and one of more.
func configure(config []byte, rows, more, step int) {
	clear(config)
	config[0] = 1 // the only palette
	for i, t := range [][2]int{{rows, 64}, {rows, 64}, {more, 64}, {more, 64}, {step / 4, 64}, {step / 4, 64}, {rows, step}, {more, step}} {
		if t[0] > 0 { // those without rows have no bytes either
			config[48+i] = byte(t[0])
			binary.LittleEndian.PutUint16(config[16+2*i:], uint16(t[1]))
		}
	}
}

func bytesOf(s []float32) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), 4*len(s)) }

// aligned is a slice from where a line of the cache begins.
func aligned(s []float32) []float32 {
	skip := -uintptr(unsafe.Pointer(&s[0])) % lineBytes
	return s[skip/4:]
}

// kernelsAMX are the widest others, with tiles for products of many rows.
var kernelsAMX = func() kernels {
	k := kernelsAVX512
	if haveBF16 {
		k = kernelsBF16
	}
	k.name += " and AMX"
	if !haveBF16 {
		k.name = "AVX-512 with AMX"
	}
	k.whole.name, k.whole.tiled = "AMX", multiplyTiled
	return k
}()

// kernelsAVXVNNI are those of AVX2, with dot products of bytes.
var kernelsAVXVNNI = func() kernels {
	k := kernelsAVX2
	k.name, k.whole.name, k.whole.by = "AVX2 with VNNI", "AVX-VNNI", productsAVXVNNI
	return k
}()
