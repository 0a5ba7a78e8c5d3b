package grammar

import (
	"math"
	"slices"
	"strconv"
)

// writable finds numbers that nobody could read.
func (v *value) writable() error {
	if v.kind == isNumber {
		if _, err := v.decimal(); err != nil {
			return errorf(v.path, "%v", err)
		}
	}
	for _, e := range v.items {
		if err := e.writable(); err != nil {
			return err
		}
	}
	return nil
}

// shared are the values in both lists.
func shared(a, b []*value) []*value {
	in := standards(b)
	return slices.DeleteFunc(slices.Clone(a), func(v *value) bool { return !in[v.standard()] })
}

func standards(values []*value) map[string]bool {
	in := make(map[string]bool, len(values))
	for _, v := range values {
		in[v.standard()] = true
	}
	return in
}

func want(v *value, kind jsonKind) error {
	if v.kind != kind {
		return errorf(v.path, "expected %v, got %v", kind, v.kind)
	}
	return nil
}

func wantSchema(v *value) error {
	if v.kind != isObject && v.kind != isBool {
		return errorf(v.path, "expected a schema, an object or a boolean, got %v", v.kind)
	}
	return nil
}

// schemas reads a list of schemas.
func schemas(v *value) ([]*value, error) {
	if err := want(v, isArray); err != nil {
		return nil, err
	}
	if len(v.items) == 0 {
		return nil, errorf(v.path, "must not be empty")
	}
	for _, s := range v.items {
		if err := wantSchema(s); err != nil {
			return nil, err
		}
	}
	return v.items, nil
}

// isFalse reads a schema that allows all or nothing.
func isFalse(v *value) (bool, error) {
	if v.kind != isBool {
		return false, errorf(v.path, "only true and false are supported, got %.40s", v.literal())
	}
	return v.text == "false", nil
}

// count reads a number that is not negative.
func count(v *value) (int, error) {
	if err := want(v, isNumber); err != nil {
		return 0, err
	}
	n, err := strconv.ParseFloat(v.text, 64)
	if err != nil || n < 0 || n != math.Trunc(n) || n > math.MaxInt32/2 {
		return 0, errorf(v.path, "expected an integer from 0 to %d, got %s", math.MaxInt32/2, v.text)
	}
	return int(n), nil
}
