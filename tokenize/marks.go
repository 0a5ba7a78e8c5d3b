package tokenize

import (
	"sync"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// combining is the canonical combining class.
func combining(r rune) uint8 {
	if all := combiningClasses(); int(r) < len(all) {
		return all[r]
	}
	return 0
}

// combiningClasses lists the classes of all characters up to the last that
// has one.
var combiningClasses = sync.OnceValue(func() (all []uint8) {
	var buf [utf8.UTFMax]byte
	for r := rune(0x300); r < 0x30000; r++ {
		c := norm.NFD.Properties(buf[:utf8.EncodeRune(buf[:], r)]).CCC()
		if c == 0 || isLater(r) {
			continue
		}
		all = append(all, make([]uint8, int(r)+1-len(all))...)
		all[r] = c
	}
	return all
})

// order sorts each run of combining characters by class, in place.
func order(d []rune) []rune {
	for i := 0; i < len(d); i++ {
		if combining(d[i]) == 0 {
			continue
		}
		j, sorted := i+1, true
		for ; j < len(d) && combining(d[j]) != 0; j++ {
			sorted = sorted && combining(d[j-1]) <= combining(d[j])
		}
		if !sorted {
			orderRun(d[i:j])
		}
		i = j
	}
	return d
}

// orderRun sorts by class, keeping the order of equals: by insertion, or where
// someone wrote very many marks by counting, which takes linear time.
func orderRun(d []rune) {
	if len(d) <= 32 {
		for i := 1; i < len(d); i++ {
			for j := i; j > 0 && combining(d[j-1]) > combining(d[j]); j-- {
				d[j-1], d[j] = d[j], d[j-1]
			}
		}
		return
	}
	var at [257]int
	for _, r := range d {
		at[int(combining(r))+1]++
	}
	for c := 1; c < len(at); c++ {
		at[c] += at[c-1]
	}
	sorted := make([]rune, len(d))
	for _, r := range d {
		c := combining(r)
		sorted[at[c]] = r
		at[c]++
	}
	copy(d, sorted)
}
