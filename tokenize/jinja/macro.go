package jinja

import "fmt"

// macro is a macro or the body of a call block, with the frame it was defined in.
type macro struct {
	def     *macroDef
	defined *frame
}

func (m *macro) call(st *state, args []Value, kwargs []kwarg) (Value, error) {
	if err := st.enter(); err != nil {
		return nil, err
	}
	defer st.leave()
	if err := st.step(m.def.slots >> 3); err != nil {
		return nil, err
	}
	f := newFrame(m.def.slots, m.defined)
	if err := m.bind(st, f, args, kwargs); err != nil {
		return nil, err
	}
	text, _, err := st.capture(func() (control, error) {
		if err := st.open(f, m.def.scope); err != nil {
			return proceed, err
		}
		first := len(m.def.params) - len(m.def.defaults)
		for i, p := range m.def.params {
			if f.vars[p.ref.idx] != missing {
				continue
			}
			f.vars[p.ref.idx] = Value(&Undefined{hint: fmt.Sprintf("parameter '%s' was not provided", p.name), name: p.name, obj: missing})
			if i >= first {
				f.vars[p.ref.idx] = missing
				v, err := m.def.defaults[i-first].eval(st, f)
				if err != nil {
					return proceed, at(err, m.def.line)
				}
				f.vars[p.ref.idx] = v
			}
		}
		return st.run(m.def.body, f)
	})
	return text, err
}

// bind gives the parameters their arguments.
func (m *macro) bind(st *state, f *frame, args []Value, kwargs []kwarg) error {
	def := m.def
	left := append([]kwarg(nil), kwargs...)
	if err := st.step(len(def.params) * (1 + len(left)) >> 3); err != nil {
		return err
	}
	take := func(name string) (Value, bool) {
		for i, k := range left {
			if k.name == name {
				left = append(left[:i], left[i+1:]...)
				return k.val, true
			}
		}
		return nil, false
	}
	foundCaller := false
	for i, p := range def.params {
		if i < len(args) {
			f.vars[p.ref.idx] = args[i]
			continue
		}
		if p.name == "caller" {
			foundCaller = true
		}
		if v, ok := take(p.name); ok {
			f.vars[p.ref.idx] = v
		}
	}
	if len(args) >= len(def.params) {
		for _, p := range def.params {
			foundCaller = foundCaller || p.name == "caller"
		}
	}
	if def.hasCaller && !foundCaller && def.caller >= 0 {
		v, ok := take("caller")
		if !ok || v == nil {
			v = &Undefined{hint: "No caller defined", name: "caller", obj: missing}
		}
		f.vars[def.caller] = v
	}
	if def.kwargs >= 0 {
		d := NewDict(len(left))
		for _, k := range left {
			d.Set(k.name, k.val)
		}
		f.vars[def.kwargs] = d
	} else if len(left) > 0 {
		if left[0].name == "caller" {
			return typeErr("macro '%s' was invoked with two values for the special caller argument. This is most likely a bug.", def.name)
		}
		return typeErr("macro '%s' takes no keyword argument '%s'", def.name, left[0].name)
	}
	extra := args[min(len(args), len(def.params)):]
	if def.varargs >= 0 {
		f.vars[def.varargs] = Tuple(append([]any{}, extra...))
	} else if len(extra) > 0 {
		return typeErr("macro '%s' takes not more than %d argument(s)", def.name, len(def.params))
	}
	return nil
}
