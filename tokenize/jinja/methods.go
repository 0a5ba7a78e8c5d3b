package jinja

import (
	"math"
	"math/big"
)

// with makes a method of a function over bound arguments.
func with(s signature, fn func(st *state, recv Value, a []Value) (Value, error)) methodFunc {
	return func(st *state, recv Value, args []Value, kwargs []kwarg) (Value, error) {
		a, err := s.bind(args, kwargs)
		if err != nil {
			return nil, err
		}
		return fn(st, recv, a)
	}
}

var dictMethods = map[string]methodFunc{
	"get": with(sig("get", "key", "default=", "/"), func(st *state, recv Value, a []Value) (Value, error) {
		d := recv.(*Dict)
		i, err := st.place(d, a[0])
		switch {
		case err != nil:
			return nil, err
		case i >= 0:
			return d.entries[i].val, nil
		case a[1] == missing:
			return nil, nil
		}
		return a[1], nil
	}),
	"items":  with(sig("items"), func(_ *state, recv Value, _ []Value) (Value, error) { return &view{recv.(*Dict), 'i'}, nil }),
	"keys":   with(sig("keys"), func(_ *state, recv Value, _ []Value) (Value, error) { return &view{recv.(*Dict), 'k'}, nil }),
	"values": with(sig("values"), func(_ *state, recv Value, _ []Value) (Value, error) { return &view{recv.(*Dict), 'v'}, nil }),
	"copy":   with(sig("copy"), func(_ *state, recv Value, _ []Value) (Value, error) { return recv, nil }),
	"fromkeys": func(st *state, _ Value, args []Value, kwargs []kwarg) (Value, error) {
		return fromKeys(st, nil, args, kwargs)
	},
}

var listMethods = map[string]methodFunc{
	"copy": with(sig("copy"), func(_ *state, recv Value, _ []Value) (Value, error) { return recv, nil }),
	"count": with(sig("count", "value", "/"), func(st *state, recv Value, a []Value) (Value, error) {
		n := int64(0)
		it, err := st.iterate(recv)
		for err == nil {
			var x Value
			var ok, eq bool
			if x, ok, err = it.pull(st); !ok || err != nil {
				break
			}
			if eq, err = st.equal(x, a[0], 0); eq {
				n++
			}
		}
		return n, err
	}),
	"index": with(sig("index", "value", "start=", "stop=", "/"), func(st *state, recv Value, a []Value) (Value, error) {
		list, ok := recv.([]any)
		if !ok {
			list = recv.(Tuple)
		}
		start, stop := Value(nil), Value(nil)
		if a[1] != missing {
			start = a[1]
		}
		if a[2] != missing {
			stop = a[2]
		}
		from, count, _, err := sliceBounds(len(list), start, stop, nil)
		if err != nil {
			return nil, err
		}
		for i := from; i < from+count; i++ {
			if eq, err := st.equal(list[i], a[0], 0); eq || err != nil {
				return int64(i), err
			}
		}
		return nil, valueErr("%s is not in list", shortRepr(a[0]))
	}),
}

var intMethods = map[string]methodFunc{
	"bit_length": with(sig("bit_length"), func(_ *state, recv Value, _ []Value) (Value, error) {
		return int64(bigOf(recv).BitLen()), nil
	}),
	"bit_count": with(sig("bit_count"), func(st *state, recv Value, _ []Value) (Value, error) {
		n := int64(0)
		if err := st.weigh(intSize(recv)); err != nil {
			return nil, err
		}
		for _, w := range bigOf(recv).Bits() {
			for ; w != 0; w &= w - 1 {
				n++
			}
		}
		return n, nil
	}),
	"conjugate": with(sig("conjugate"), func(_ *state, recv Value, _ []Value) (Value, error) { return normInt(bigOf(recv)) }),
	"as_integer_ratio": with(sig("as_integer_ratio"), func(_ *state, recv Value, _ []Value) (Value, error) {
		n, err := normInt(bigOf(recv))
		return Tuple{n, int64(1)}, err
	}),
}

var floatMethods = map[string]methodFunc{
	"is_integer": with(sig("is_integer"), func(_ *state, recv Value, _ []Value) (Value, error) {
		f := recv.(float64)
		return f == math.Trunc(f) && !math.IsInf(f, 0), nil
	}),
	"conjugate": with(sig("conjugate"), func(_ *state, recv Value, _ []Value) (Value, error) { return recv, nil }),
	"as_integer_ratio": with(sig("as_integer_ratio"), func(_ *state, recv Value, _ []Value) (Value, error) {
		r := new(big.Rat).SetFloat64(recv.(float64))
		if r == nil {
			return nil, valueErr("cannot convert %s to integer ratio", floatRepr(recv.(float64)))
		}
		num, err := normInt(r.Num())
		if err != nil {
			return nil, err
		}
		den, err := normInt(r.Denom())
		return Tuple{num, den}, err
	}),
}

func fromKeys(st *state, _ Value, args []Value, kwargs []kwarg) (Value, error) {
	s := sig("fromkeys", "iterable", "value=", "/")
	a, err := s.bind(args, kwargs)
	if err != nil {
		return nil, err
	}
	keys, err := st.list(a[0])
	if err != nil {
		return nil, err
	}
	if a[1] == missing {
		a[1] = nil
	}
	if err := st.allocList(2 * len(keys)); err != nil {
		return nil, err
	}
	d := NewDict(len(keys))
	for _, k := range keys {
		if err := st.put(d, k, a[1]); err != nil {
			return nil, err
		}
	}
	return d, nil
}
