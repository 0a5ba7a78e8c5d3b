package grammar

import (
	"fmt"
	"slices"
	"strings"
)

// A grammar in EBNF is rules that refer to each other. Two ways to write one are
// read, gbnf.go's and lark.go's; what they have in common is here.
//
// A rule that begins with itself is rewritten as a repetition; rules that do so
// by way of others are refused. A reference that nothing follows, as in
// list ::= item ("," list)?, is no level of nesting, so such a list is as long as
// one likes; of others maxDepth are within each other.

// ruleNode is a piece of a rule, before it is an expression.
type ruleNode struct {
	op       op // opNever and opTable are not used
	e        *expr
	name     string // opRef: which rule
	subs     []*ruleNode
	min, max int
	at       int // line
}

// rules is a grammar in EBNF.
type rules struct {
	budget *budget
	as     spelling
	root   string
	bodies map[string]*ruleNode
	order  []string
	// between, if any, may stand before and after every leaf of the rules that are
	// marked as spaced.
	between *ruleNode
	spaced  map[string]bool
	nodes   int
}

func newRules(w *budget, as spelling, root string) *rules {
	return &rules{budget: w, as: as, root: root, bodies: map[string]*ruleNode{}, spaced: map[string]bool{}}
}

// parseEBNF reads rules as llama.cpp has them, or as Lark does where nothing is
// defined by "::=".
func parseEBNF(w *budget, source string, as spelling) (*expr, error) {
	w.spend(len(source))
	read := parseLark
	if definesGBNF(source) {
		read = parseGBNF
	}
	r, err := read(w, source, as)
	if err != nil {
		return nil, err
	}
	return r.expr()
}

func definesGBNF(source string) bool {
	for line := range strings.Lines(source) {
		name, _, ok := strings.Cut(line, "::=")
		if ok && !strings.ContainsAny(name, `"'#/[`) {
			return true
		}
	}
	return false
}

func (r *rules) add(name string, body *ruleNode) error {
	if r.bodies[name] != nil {
		return fmt.Errorf("line %d: the rule %s is defined twice", body.at, name)
	}
	r.bodies[name] = body
	r.order = append(r.order, name)
	return nil
}

func (r *rules) expr() (*expr, error) {
	if r.bodies[r.root] == nil {
		return nil, fmt.Errorf("there is no rule %s, with which it would begin", r.root)
	}
	for _, name := range r.order {
		if err := r.defined("rule "+name, r.bodies[name]); err != nil {
			return nil, err
		}
	}
	if r.between != nil {
		if err := r.defined("directive %ignore", r.between); err != nil {
			return nil, err
		}
	}
	for _, name := range r.order {
		r.bodies[name] = unrecursed(name, r.bodies[name])
	}
	if cycle := r.leftCycle(); cycle != nil {
		return nil, fmt.Errorf("the rules %s begin with each other: left recursion is supported within one rule only", strings.Join(cycle, ", "))
	}
	return r.build(), nil
}

// defined finds references to rules that are not there.
func (r *rules) defined(where string, n *ruleNode) error {
	if n.op == opRef && r.bodies[n.name] == nil {
		return fmt.Errorf("line %d: the %s refers to %s, which is not defined", n.at, where, n.name)
	}
	for _, s := range n.subs {
		if err := r.defined(where, s); err != nil {
			return err
		}
	}
	return nil
}

// unrecursed is a rule's body without alternatives that begin with the rule
// itself: A ::= A x | A y A | z is z x* (y z x*)*.
func unrecursed(name string, body *ruleNode) *ruleNode {
	self := func(n *ruleNode) bool { return n.op == opRef && n.name == name }
	var base, after, joining []*ruleNode
	for _, alternative := range spread(name, body, 0) {
		parts := partsOf(alternative)
		n := len(parts)
		switch {
		case n == 1 && self(parts[0]): // adds nothing
		case n > 1 && self(parts[0]) && self(parts[n-1]):
			joining = append(joining, seqNode(parts[1:n-1]...))
		case n > 0 && self(parts[0]):
			after = append(after, seqNode(parts[1:]...))
		default:
			base = append(base, alternative)
		}
	}
	if len(after)+len(joining) == 0 {
		return body
	}
	one := altNode(base...)
	if len(after) > 0 {
		one = seqNode(one, repeatNode(altNode(after...), 0, -1))
	}
	if len(joining) > 0 {
		one = seqNode(one, repeatNode(seqNode(altNode(joining...), one), 0, -1))
	}
	return one
}

// spread is a body's alternatives, also those of a group that they begin with, if
// a rule of this name may be the first thing in it.
func spread(name string, n *ruleNode, depth int) (all []*ruleNode) {
	parts := partsOf(n)
	first := parts[0]
	rest := parts[1:]
	switch {
	case depth > maxNesting || len(rest) > 0 && !first.begins(name):
		return []*ruleNode{n}
	case first.op == opAlt:
		for _, s := range first.subs {
			all = append(all, spread(name, seqNode(append([]*ruleNode{s}, rest...)...), depth+1)...)
		}
		return all
	case first.op == opRepeat && first.min == 0 && first.max == 1 && first.begins(name):
		all = spread(name, seqNode(append([]*ruleNode{first.subs[0]}, rest...)...), depth+1)
		return append(all, spread(name, seqNode(rest...), depth+1)...)
	}
	return []*ruleNode{n}
}

// begins reports whether a rule of this name stands at the beginning of n.
func (n *ruleNode) begins(name string) bool {
	switch n.op {
	case opRef:
		return n.name == name
	case opSeq, opRepeat:
		return n.subs[0].begins(name)
	case opAlt:
		return slices.ContainsFunc(n.subs, func(s *ruleNode) bool { return s.begins(name) })
	}
	return false
}

func partsOf(n *ruleNode) []*ruleNode {
	if n.op != opSeq {
		return []*ruleNode{n}
	}
	var all []*ruleNode
	for _, s := range n.subs {
		all = append(all, partsOf(s)...)
	}
	return all
}

func seqNode(parts ...*ruleNode) *ruleNode {
	switch len(parts) {
	case 0:
		return leafNode(empty)
	case 1:
		return parts[0]
	}
	return &ruleNode{op: opSeq, subs: parts}
}

func altNode(parts ...*ruleNode) *ruleNode {
	switch len(parts) {
	case 0:
		return leafNode(never)
	case 1:
		return parts[0]
	}
	return &ruleNode{op: opAlt, subs: parts}
}

func repeatNode(n *ruleNode, low, high int) *ruleNode {
	return &ruleNode{op: opRepeat, subs: []*ruleNode{n}, min: low, max: high}
}

func leafNode(e *expr) *ruleNode { return &ruleNode{op: opText, e: e} }

// leftCycle is rules each of which may begin with the next, and the last with the
// first; nil: there are none.
func (r *rules) leftCycle() []string {
	empty := r.emptyRules()
	const open, closed = 1, 2
	state := map[string]int{}
	var path []string
	var visit func(name string) []string
	visit = func(name string) []string {
		switch state[name] {
		case open:
			return slices.Clone(path[slices.Index(path, name):])
		case closed:
			return nil
		}
		state[name] = open
		path = append(path, name)
		var first []string
		r.first(r.bodies[name], empty, &first)
		for _, next := range first {
			if cycle := visit(next); cycle != nil {
				return cycle
			}
		}
		path = path[:len(path)-1]
		state[name] = closed
		return nil
	}
	for _, name := range r.order {
		if cycle := visit(name); cycle != nil {
			return cycle
		}
	}
	return nil
}

// emptyRules are those that match the empty text.
func (r *rules) emptyRules() map[string]bool {
	empty := map[string]bool{}
	for changed := true; changed; {
		changed = false
		for _, name := range r.order {
			if !empty[name] && r.bodies[name].mayBeEmpty(empty) {
				empty[name], changed = true, true
			}
		}
		r.budget.spend(r.nodes)
	}
	return empty
}

func (n *ruleNode) mayBeEmpty(empty map[string]bool) bool {
	switch n.op {
	case opRef:
		return empty[n.name]
	case opSeq:
		return !slices.ContainsFunc(n.subs, func(s *ruleNode) bool { return !s.mayBeEmpty(empty) })
	case opAlt:
		return slices.ContainsFunc(n.subs, func(s *ruleNode) bool { return s.mayBeEmpty(empty) })
	case opRepeat:
		return n.min == 0 || n.subs[0].mayBeEmpty(empty)
	}
	return n.e.mayBeEmpty()
}

// mayBeEmpty reports whether an expression without references matches the empty
// text.
func (e *expr) mayBeEmpty() bool {
	switch e.op {
	case opEmpty:
		return true
	case opTable, opCounted:
		return e.table.states[0].accepts
	case opSeq:
		return !slices.ContainsFunc(e.subs, func(s *expr) bool { return !s.mayBeEmpty() })
	case opAlt:
		return slices.ContainsFunc(e.subs, (*expr).mayBeEmpty)
	case opRepeat:
		return e.min == 0 || e.subs[0].mayBeEmpty()
	}
	return false
}

// first adds the rules that n may begin with.
func (r *rules) first(n *ruleNode, empty map[string]bool, into *[]string) {
	r.budget.spend(1)
	switch n.op {
	case opRef:
		*into = append(*into, n.name)
	case opSeq:
		for _, s := range n.subs {
			if r.first(s, empty, into); !s.mayBeEmpty(empty) {
				return
			}
		}
	default:
		for _, s := range n.subs {
			r.first(s, empty, into)
		}
	}
}

// build makes the rules an expression.
func (r *rules) build() *expr {
	b := ebnfBuilder{r: r, refs: map[string][]*expr{}}
	if r.between != nil {
		b.gap = b.build(r.between, false)
	}
	e := b.refer(r.root, false)
	if b.gap != nil {
		e = seq(e, b.gap)
	}
	for _, name := range r.order {
		b.spaced = r.spaced[name]
		body := b.build(r.bodies[name], true)
		b.bodies = append(b.bodies, body)
	}
	for i, name := range r.order {
		for _, ref := range b.refs[name] {
			ref.to(b.bodies[i])
		}
	}
	return e
}

// ebnfBuilder makes rules expressions.
type ebnfBuilder struct {
	r      *rules
	refs   map[string][]*expr // to each rule
	bodies []*expr            // in the rules' order
	gap    *expr              // nil: none
	spaced bool               // what is being built has gaps
}

// refer is a reference to a rule; last: nothing follows it in its own.
func (b *ebnfBuilder) refer(name string, last bool) *expr {
	e := &expr{op: opRef, tail: last}
	b.refs[name] = append(b.refs[name], e)
	return e
}

// build makes a node an expression; last: nothing of its rule follows it.
func (b *ebnfBuilder) build(n *ruleNode, last bool) *expr {
	switch n.op {
	case opRef:
		e := b.refer(n.name, last)
		if b.spaced && !b.r.spaced[n.name] {
			return b.after(e)
		}
		return e
	case opSeq:
		var parts []*expr
		for i, s := range n.subs {
			parts = append(parts, b.build(s, last && i == len(n.subs)-1))
		}
		return seq(parts...)
	case opAlt:
		var parts []*expr
		for _, s := range n.subs {
			parts = append(parts, b.build(s, last))
		}
		return alt(parts...)
	case opRepeat:
		return repeat(b.build(n.subs[0], last && n.max == 1), n.min, n.max)
	}
	if b.spaced {
		return b.after(n.e)
	}
	return n.e
}

// after is a leaf, with what may stand before it.
func (b *ebnfBuilder) after(e *expr) *expr {
	if b.gap == nil || e.op == opEmpty {
		return e
	}
	return seq(b.gap, e)
}
