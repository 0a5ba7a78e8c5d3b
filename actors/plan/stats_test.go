package plan

import (
	"reflect"
	"testing"
)

// No counter is forgotten when those of several planners are added up.
func TestStatsAddUp(t *testing.T) {
	var one, sum Stats
	fill := func(v reflect.Value, n int) {
		switch v.Kind() {
		case reflect.Int:
			v.SetInt(int64(n))
		case reflect.Uint64:
			v.SetUint(uint64(n))
		case reflect.Float64:
			v.SetFloat(float64(n))
		default:
			t.Fatalf("a counter of type %v", v.Type())
		}
	}
	for v, i := reflect.ValueOf(&one).Elem(), 0; i < v.NumField(); i++ {
		if f := v.Field(i); f.Kind() == reflect.Array {
			for k := range f.Len() {
				fill(f.Index(k), 100+k)
			}
		} else {
			fill(f, i+1)
		}
	}
	sum.Add(&one)
	if sum != one {
		t.Errorf("%+v, want %+v", sum, one)
	}
	sum.Add(&one)
	if sum.Deferred != 2*one.Deferred || sum.Finished[3] != 2*one.Finished[3] {
		t.Errorf("twice: %+v", sum)
	}
}

// Prefixes of few and small tokens have names of their own, too, and none has that of
// no prefix at all.
func TestHashPage(t *testing.T) {
	names := map[uint64][]int32{0: nil}
	name := func(above uint64, page ...int32) uint64 {
		h := HashPage(above, page)
		if other, taken := names[h]; taken {
			t.Fatalf("%v after %x has the name of %v", page, above, other)
		}
		names[h] = page
		return h
	}
	for a := range int32(64) {
		one := name(0, a)
		for b := range int32(64) {
			name(one, b)
			name(0, a, b)
		}
	}
}
