// Package grammar keeps a model's output within a language: a regular
// expression, a JSON schema, literal text, or what these make together. For
// each token to be drawn it says which tokens may be.
//
// Read spec.go (how a language is described), expr.go (what a description
// becomes), automaton.go (an expression run byte by byte), vocabulary.go and
// mask.go (which tokens an automaton lets through), grammar.go, budget.go (what
// compiling may take) and cache.go (what others use). How expressions are made is
// in regex.go, in ebnf.go with scanner.go, gbnf.go and lark.go (rules that refer
// to each other), json.go and, for schemas, in this order: keywords.go and keywordtable.go
// (what a schema says), schema.go (which schemas hold together, and choices between them),
// negate.go (the opposite of a schema), apart.go (which choices are none) and
// holds.go (whether a value is valid), build.go, kinds.go, object.go, others.go,
// array.go, unique.go and uniquestrings.go with track.go, strings.go, format.go and uri.go, counted.go, number.go and
// digits.go (the values themselves).
//
//	Spec ──parse──▶ expression ──▶ automaton ──┐
//	                                           ├──▶ mask of each state, kept
//	tokenizer ──▶ Vocabulary, a trie of bytes ─┘
//
// Everything works on bytes, not characters, as tokens may hold parts of a
// character; what is let through is always UTF-8.
//
// # Schemas
//
// What a value has to be is a list of what schemas say of it, all at once:
// allOf and $ref lengthen it, and anyOf makes several lists, of which those are
// left out that plainly contradict themselves. not, if and oneOf become
// choices, too, as every schema has an opposite: a choice of ways not to be
// valid, with the opposites of the schemas within, which are made only when
// they are met. Not to be as a schema says of members or items is one way, not
// one for each: a task, which some member or item has to do. Objects and arrays
// are built as small automata that remember which tasks are done. What is
// listed, by enum or const, is tried out against everything else.
//
// # The automaton
//
// An expression is matched by derivatives (Brzozowski 1964, Antimirov 1996): a
// continuation is what is left to match, a list whose head is a piece of the
// expression and which is shared with others below it. A recursive piece makes
// longer lists, so the list is at once the stack of a pushdown automaton; a
// bounded repetition has its count beside it, so that {0,5000} costs no more
// than {0,5}. A state is the set of continuations that are possible. States
// and their transitions are made when they are first met, and kept.
//
// What an automaton cannot remember, the strings of an array that have to differ,
// the matcher of each text does; it takes tokens out of the mask that would repeat
// one, or begin one that could only become such.
//
// An expression has no part that cannot match, and depth is bounded by leaving
// out what could not end in time (expr.height). So wherever the automaton can
// be, the language has a way to its end: a mask is never empty, unless the
// vocabulary lacks single bytes.
//
// # What masks cost
//
// The mask of a state is found by walking the vocabulary's trie and the
// automaton together: a byte that cannot follow cuts off all tokens that go on
// from it. Only inside a JSON string can most of a vocabulary follow. There,
// all tokens without quotes, escapes and control characters can, whichever
// string it is: they are set at once, and only the others are walked.
//
// # Bounds
//
// A description is bounded when it is compiled (limits.go), what an automaton
// remembers when it runs: over its limit it forgets everything, and a matcher
// finds its state again from its output. An expression so ambiguous that a
// single mask is over the limit fails its request.
package grammar
