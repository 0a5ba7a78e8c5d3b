package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// A section is a part of Config that a command offers as flags: a pointer to a
// struct whose fields carry the tags
//
//	flag:"name"       the flag's name, perhaps with ",short"
//	value:"N"         what stands for the value in help texts
//	help:"…"          one sentence
//	min:"…" max:"…"   bounds of a number, both allowed
//	choices:"a,b"     the only texts allowed
//	writes:"true"     the value is a file that is written in the end
//	secret:"true"     the value is told to nobody
//
// The field's value is the default. A nil pointer means not given.
type section struct {
	title  string
	fields any
}

// bind makes flags of the sections' fields and groups the command's help by
// them. What is wrong with the values given is gathered, not told at the first
// fault: see faults.
func bind(cmd *cobra.Command, sections ...section) *faults {
	found := &faults{}
	sections = append(sections, section{"Settings", &settingsFile{}})
	groups := make([]*pflag.FlagSet, len(sections))
	for i, s := range sections {
		groups[i] = pflag.NewFlagSet(s.title, pflag.ContinueOnError)
		groups[i].SortFlags = false
		addSection(groups[i], s.fields, found)
		cmd.Flags().AddFlagSet(groups[i])
	}
	completeValues(cmd)
	cmd.SetUsageFunc(func(cmd *cobra.Command) error { return usage(cmd, groups) })
	return found
}

// addSection makes flags of a struct's fields.
func addSection(set *pflag.FlagSet, fields any, found *faults) {
	v := reflect.ValueOf(fields).Elem()
	for i := range v.NumField() {
		if tags := v.Type().Field(i).Tag; tags.Get("flag") != "" {
			addFlag(set, v.Field(i), tags, found)
		}
	}
}

func addFlag(set *pflag.FlagSet, field reflect.Value, tags reflect.StructTag, found *faults) {
	name, short, _ := strings.Cut(tags.Get("flag"), ",")
	help := tags.Get("help")
	if custom, ok := field.Addr().Interface().(pflag.Value); ok {
		set.VarP(gatherer{custom, name, found}, name, short, help)
		return
	}
	f := set.VarPF(&flagValue{field: field, name: name, tags: tags, found: found}, name, short, help)
	if field.Kind() == reflect.Bool {
		f.NoOptDefVal = "true"
	}
}

// faults are what is wrong with the values of flags.
type faults struct {
	all    []error
	output string            // the flag whose file is standard output, "" without one
	origin map[string]string // where flags' values came from that the command line does not give
}

// came notes where a flag's value came from.
func (f *faults) came(flag, origin string) {
	if f.origin == nil {
		f.origin = map[string]string{}
	}
	f.origin[flag] = origin
}

// place begins a fault with where the value came from that it is about.
func (f *faults) place(fault error) error {
	rest, is := strings.CutPrefix(fault.Error(), "--")
	end := strings.IndexFunc(rest, func(r rune) bool { return r != '-' && (r < 'a' || r > 'z') })
	if !is || end < 0 || f.origin[rest[:end]] == "" {
		return fault
	}
	return fmt.Errorf("%s: %w", f.origin[rest[:end]], fault)
}

// takeOutput notes that a flag's file is standard output, which one can be.
func (f *faults) takeOutput(flag string) {
	if f.output != "" && f.output != flag {
		f.add("--%s and --%s are both -: standard output can be one of them", f.output, flag)
	}
	f.output = flag
}

func (f *faults) add(format string, args ...any) {
	f.all = append(f.all, fmt.Errorf(format, args...))
}

// err is every fault as one usage error, or nil.
func (f *faults) err() error {
	if len(f.all) == 0 {
		return nil
	}
	placed := make([]error, len(f.all))
	for i, fault := range f.all {
		placed[i] = f.place(fault)
	}
	return &usageError{errors.Join(placed...)}
}

// gatherer gathers the faults of a field that is a flag value by itself.
type gatherer struct {
	pflag.Value
	name  string
	found *faults
}

func (g gatherer) Set(text string) error {
	if err := g.Value.Set(text); err != nil {
		g.found.add("--%s is %q: %w", g.name, text, err)
	}
	return nil
}

// flagValue makes a flag of a struct field.
type flagValue struct {
	field reflect.Value
	name  string
	tags  reflect.StructTag
	found *faults
	given bool // of a list: what is in it is no default any more
}

// list reports whether the flag may be repeated.
func (v *flagValue) list() bool {
	return v.field.Kind() == reflect.Slice && v.field.Type().Elem().Kind() != reflect.Int
}

// Type names the value in help texts.
func (v *flagValue) Type() string {
	switch name := v.tags.Get("value"); {
	case name != "":
		return name
	case v.field.Kind() == reflect.Bool:
		return "bool" // which help texts leave out
	}
	return strings.ReplaceAll(v.tags.Get("choices"), ",", "|")
}

func (v *flagValue) String() string {
	f := v.field
	switch {
	case f.Kind() == reflect.Pointer && f.IsNil(), f.Kind() == reflect.Slice && f.Len() == 0:
		return ""
	case f.Kind() == reflect.Pointer:
		f = f.Elem()
	}
	if texts, ok := f.Interface().([]string); ok {
		return strings.Join(texts, ",")
	}
	if numbers, ok := f.Interface().([]int); ok {
		return strings.ReplaceAll(strings.Trim(fmt.Sprint(numbers), "[]"), " ", ",")
	}
	if f.IsZero() && f.Kind() == reflect.Int64 { // a duration: help texts leave out a default of 0, not of 0s
		return "0"
	}
	return fmt.Sprint(f.Interface())
}

// Set parses the text into the field. It never fails: it adds to the faults.
func (v *flagValue) Set(text string) error {
	if choices := v.tags.Get("choices"); choices != "" {
		if all := strings.Split(choices, ","); !slices.Contains(all, text) {
			v.found.add("--%s is %q; it must be %s%s", v.name, text, oneOf(all), didYouMean(closest(text, all)))
			return nil
		}
	}
	if v.tags.Get("writes") != "" {
		if text == "-" {
			v.found.takeOutput(v.name)
		}
		if fault := unwritable(text); fault != "" {
			v.found.add("--%s is %q, but %s", v.name, text, fault)
			return nil
		}
	}
	f := v.field
	if f.Kind() == reflect.Pointer {
		f = reflect.New(f.Type().Elem()).Elem()
	}
	want, number, err := v.parse(f, text)
	switch {
	case err != nil:
		v.found.add("--%s is %q; it must be %s", v.name, text, want)
	case !v.within(number):
		v.found.add("--%s is %s; it must be %s", v.name, text, v.bounds())
	case v.field.Kind() == reflect.Pointer:
		v.field.Set(f.Addr())
	}
	return nil
}

// unwritable says why no file of that name can be written, as far as is known
// before: what was measured for hours is not to be lost for a wrong name.
func unwritable(name string) string {
	if name == "" || name == "-" {
		return ""
	}
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return "that is a directory"
	}
	dir := filepath.Dir(name)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "there is no directory " + dir
	}
	if info, err := os.Stat(name); err == nil {
		if !info.Mode().IsRegular() { // a pipe would wait for its reader
			return ""
		}
		f, err := os.OpenFile(name, os.O_WRONLY, 0) // what is in it stays until then
		if err != nil {
			return "it cannot be written: " + reason(err)
		}
		_ = f.Close()
		return ""
	}
	f, err := os.CreateTemp(dir, ".troupe-")
	if err != nil {
		return "nothing can be written in " + dir + ": " + reason(err)
	}
	_ = f.Close()
	_ = os.Remove(f.Name())
	return ""
}

// reason is an error without the name of the file it is about.
func reason(err error) string {
	var at *os.PathError
	if errors.As(err, &at) {
		return at.Err.Error()
	}
	return err.Error()
}

// parse sets f and returns what a value of f's type is called, and its
// magnitude if it has bounds.
func (v *flagValue) parse(f reflect.Value, text string) (want string, number float64, err error) {
	if d, ok := f.Addr().Interface().(*time.Duration); ok {
		*d, err = time.ParseDuration(text)
		return "a duration such as 30s or 2m", d.Seconds(), err
	}
	switch f.Kind() {
	case reflect.String:
		f.SetString(text)
	case reflect.Slice:
		if numbers, ok := f.Addr().Interface().(*[]int); ok { // given at once, with commas
			*numbers, err = parseNumbers(text)
			return "whole numbers with commas between, such as 1,8", 0, err
		}
		if !v.given {
			v.given = true
			f.Set(reflect.Zero(f.Type()))
		}
		f.Set(reflect.Append(f, reflect.ValueOf(text)))
	case reflect.Bool:
		want = "true or false"
		var b bool
		if b, err = strconv.ParseBool(text); err == nil {
			f.SetBool(b)
		}
	case reflect.Int:
		want = "a whole number"
		var n int64
		if n, err = strconv.ParseInt(text, 10, 0); err == nil {
			f.SetInt(n)
		}
		number = float64(n)
	case reflect.Uint64:
		want = "a whole number that is not negative"
		var n uint64
		if n, err = strconv.ParseUint(text, 10, 64); err == nil {
			f.SetUint(n)
		}
		number = float64(n)
	case reflect.Float64:
		want = "a number"
		if number, err = strconv.ParseFloat(text, 64); err == nil {
			f.SetFloat(number)
		}
	default:
		panic("flag --" + v.name + " is of a type that cannot be parsed: " + f.Type().String())
	}
	return want, number, err
}

// parseNumbers reads whole numbers with commas between.
func parseNumbers(text string) (all []int, err error) {
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, nil
}

func (v *flagValue) within(number float64) bool {
	least, hasLeast := v.bound("min")
	most, hasMost := v.bound("max")
	return (!hasLeast || number >= least) && (!hasMost || number <= most)
}

func (v *flagValue) bound(tag string) (float64, bool) {
	text, ok := v.tags.Lookup(tag)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		panic("flag --" + v.name + ": " + err.Error())
	}
	return n, true
}

func (v *flagValue) bounds() string {
	least, most := v.written("min"), v.written("max")
	switch {
	case most == "":
		return "at least " + least
	case least == "":
		return "at most " + most
	}
	return "from " + least + " to " + most
}

// written is a bound as its flag is.
func (v *flagValue) written(tag string) string {
	n, ok := v.bound(tag)
	if ok && v.field.Type() == reflect.TypeFor[time.Duration]() {
		return time.Duration(n * float64(time.Second)).String()
	}
	return v.tags.Get(tag)
}

// usage prints how a command is called: its commands, or its flags in groups.
func usage(cmd *cobra.Command, groups []*pflag.FlagSet) error {
	out := cmd.OutOrStderr()
	fmt.Fprintf(out, "Usage:\n  %s\n", cmd.UseLine())
	if cmd.HasExample() {
		fmt.Fprintf(out, "\nExamples:\n%s\n", cmd.Example)
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(out, "\nCommands:\n")
	}
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			fmt.Fprintf(out, "  %-10s %s\n", c.Name(), c.Short)
		}
	}
	for _, g := range groups {
		fmt.Fprintf(out, "\n%s:\n%s", g.Name(), g.FlagUsagesWrapped(100))
	}
	return nil
}
