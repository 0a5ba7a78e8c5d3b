package jinja

import (
	"errors"
	"strings"
)

// filter is a function applied with a bar: v|name(args).
type filter struct {
	sig signature // of the arguments after the value; unused by raw filters
	fn  filterFunc
	raw rawFilter
}

type (
	filterFunc func(st *state, v Value, a []Value) (Value, error)
	rawFilter  func(st *state, v Value, args []Value, kwargs []kwarg) (Value, error)
)

func (f *filter) run(st *state, v Value, args []Value, kwargs []kwarg) (Value, error) {
	if f.raw != nil {
		return f.raw(st, v, args, kwargs)
	}
	a, err := f.sig.bind(args, kwargs)
	if err != nil {
		return nil, err
	}
	return f.fn(st, v, a)
}

// refused are jinja2's filters that chat templates do without.
var refused = map[string]bool{"pprint": true, "random": true, "urlize": true, "wordwrap": true}

// filterTable are the filters: their names, and the parameters after the value, of
// which those that end in = may be left out.
var filterTable = []struct {
	names, params string
	fn            filterFunc
}{
	{"upper", "", ofText(upper)},
	{"lower", "", ofText(lower)},
	{"capitalize", "", ofText(capitalize)},
	{"title", "", ofText(titleWords)},
	{"string", "", filterString},
	{"safe", "", filterSafe},
	{"escape e", "", func(st *state, v Value, _ []Value) (Value, error) { return st.escape(v, false) }},
	{"forceescape", "", func(st *state, v Value, _ []Value) (Value, error) { return st.escape(v, true) }},
	{"trim", "chars=", filterTrim},
	{"replace", "old new count=", filterReplace},
	{"default d", "default_value= boolean=", filterDefault},
	{"length count", "", filterLength},
	{"abs", "", filterAbs},
	{"int", "default= base=", filterInt},
	{"float", "default=", filterFloat},
	{"round", "precision= method=", filterRound},
	{"indent", "width= first= blank=", filterIndent},
	{"truncate", "length= killwords= end= leeway=", filterTruncate},
	{"center", "width=", filterCenter},
	{"wordcount", "", filterWordCount},
	{"filesizeformat", "binary=", filterFileSize},
	{"urlencode", "", filterURLEncode},
	{"striptags", "", filterStripTags},
	{"xmlattr", "autospace=", filterXMLAttr},
	{"attr", "name", filterAttr},
	{"tojson", "ensure_ascii= indent= separators= sort_keys=", (*state).toJSON},

	// Of sequences. Where jinja2 makes a generator, so do they: nothing runs
	// before the items are asked for.
	{"list", "", filterList},
	{"items", "", filterItems},
	{"first", "", filterFirst},
	{"last", "", filterLast},
	{"reverse", "", filterReverse},
	{"join", "d= attribute=", filterJoin},
	{"sum", "attribute= start=", filterSum},
	{"min", "case_sensitive= attribute=", extreme("<", -1)},
	{"max", "case_sensitive= attribute=", extreme(">", 1)},
	{"sort", "reverse= case_sensitive= attribute=", filterSort},
	{"dictsort", "case_sensitive= by= reverse=", filterDictSort},
	{"unique", "case_sensitive= attribute=", filterUnique},
	{"groupby", "attribute default= case_sensitive=", filterGroupBy},
	{"batch", "linecount fill_with=", filterBatch},
	{"slice", "slices fill_with=", filterSlice},
}

// rawFilters are those that take arguments as they come.
var rawFilters = map[string]rawFilter{
	"format":     filterFormat,
	"map":        filterMap,
	"select":     selecting(true, false),
	"reject":     selecting(false, false),
	"selectattr": selecting(true, true),
	"rejectattr": selecting(false, true),
}

// filters are all of them by each of their names.
var filters = map[string]*filter{}

func init() { // not at its declaration, since some filters call others by name
	for _, f := range filterTable {
		for _, name := range strings.Fields(f.names) {
			filters[name] = &filter{sig: sig(name, strings.Fields(f.params)...), fn: f.fn}
		}
	}
	for name, fn := range rawFilters {
		filters[name] = &filter{raw: fn}
	}
}

// ofText is a filter that makes a string of a string.
func ofText(fn func(string) string) filterFunc {
	return func(st *state, v Value, _ []Value) (Value, error) {
		s, err := st.softStr(v)
		if err != nil {
			return nil, err
		}
		if err := errors.Join(st.chew(s), st.alloc(len(s))); err != nil {
			return nil, err
		}
		return like(v, fn(s)), nil
	}
}
