package tokenize

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// twins pairs each hand-written scanner with the general path.
func twins(t testing.TB) map[string][2]matcher {
	makeClasses()
	all := map[string][2]matcher{}
	for expr, f := range scanners {
		re, err := newRegex(expr)
		if err != nil {
			t.Fatal(err)
		}
		all[expr] = [2]matcher{f, re}
	}
	return all
}

func compareTwins(t *testing.T, all map[string][2]matcher, s string) {
	t.Helper()
	for expr, m := range all {
		got, want := m[0].matches(s, nil), m[1].matches(s, nil)
		if !slices.Equal(got, want) {
			t.Fatalf("pattern %s\ntext %q\n got %v\nwant %v", expr, s, got, want)
		}
	}
}

// randomText mixes what splitters tell apart: letters of all kinds, marks,
// digits, spaces, line breaks, quotes, and any character at all.
func randomText(r *rand.Rand, n int) string {
	var b strings.Builder
	for range n {
		switch x := r.IntN(20); {
		case x < 5:
			b.WriteByte(" \t\n\r'\"/.a0Zs"[r.IntN(12)])
		case x < 8:
			b.WriteString([]string{"'s", "'S", "'ll", "'Re", "'ſ", "'vE", "'t", "'lſ", "\r\n", "  ", "\n\t\t}", "K", "'K", "\u2028", "\u0085", "\u00a0", "\u3000", "e\u0301", "ªº", "ǅ", "ʰ", "٣", "Ⅷ", "½", "々", "ー", "\u200d", "\U0001F468", "\x00", "\u1c89", "\U0002EBF0", "龥", "龦", "゠", "ヿ"}[r.IntN(35)])
		case x < 11:
			b.WriteByte(byte(r.IntN(128)))
		case x < 15:
			a := alphabets[r.IntN(len(alphabets))]
			b.WriteRune(a[r.IntN(len(a))])
		case x < 17:
			b.WriteRune(rune(r.IntN(0x2100)))
		case x < 19:
			b.WriteRune(rune(r.IntN(0x20000)))
		default:
			b.WriteRune(rune(r.IntN(utf8.MaxRune)))
		}
	}
	return strings.ToValidUTF8(b.String(), "?")
}

// rounds is how often random tests repeat; TROUPE_ROUNDS asks for more.
func rounds(t *testing.T, n int) int {
	if s := os.Getenv("TROUPE_ROUNDS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatalf("TROUPE_ROUNDS: %v", err)
		}
	}
	return n
}

// random is seeded by the clock; a failure's seed is in the log.
func random(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 3))
}

func TestScannersEqualGeneralPath(t *testing.T) {
	all := twins(t)
	code := goCode(1 << 18)
	r, n := random(t), rounds(t, 300)
	for i := range n {
		compareTwins(t, all, randomText(r, 1+r.IntN(40)))
		at := r.IntN(len(code) - 300)
		compareTwins(t, all, strings.ToValidUTF8(code[at:at+r.IntN(300)], ""))
		if i%100000 == 99999 {
			t.Logf("%d rounds", i+1)
		}
	}
	t.Logf("%d random texts and as many of tab-indented code, %d patterns", n, len(all))
}

// TestClasses holds the class table to the general path, character by
// character.
func TestClasses(t *testing.T) {
	makeClasses()
	for expr, class := range map[string]uint8{
		`\p{L}`: letter, `\p{N}`: number, `\s`: space, `[\r\n]`: newline, `\p{M}`: mark, `[\p{P}\p{S}]`: symbols,
		`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`: upper, `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`: lower,
	} {
		re, err := newRegex(expr)
		if err != nil {
			t.Fatal(err)
		}
		for lo := rune(0); lo <= utf8.MaxRune; lo += 256 {
			if lo == 0x32000 {
				lo = 0xE0000 // nothing is assigned in between
			} else if lo == 0xE0200 {
				lo = 0x10FF00
			}
			var text []rune
			for r := lo; r < lo+256; r++ {
				if utf8.ValidRune(r) {
					text = append(text, r)
				}
			}
			s := string(text)
			at := re.matches(s, nil)
			for i := 0; i < len(s); {
				c, n := classAt(s, i)
				match := len(at) > 0 && at[0] == i
				if match {
					at = at[2:]
				}
				if match != (c&class != 0) {
					t.Fatalf("%s: %+q: general path %v", expr, s[i:i+n], match)
				}
				i += n
			}
		}
	}
}

// TestStarts shows that no match starts with a byte that starts leaves out. The
// patterns are runs of one class: a character alone tells.
func TestStarts(t *testing.T) {
	makeClasses()
	for expr := range starts {
		table, scan := startTable(expr), scanners[expr]
		matched := 0
		for r := rune(0); r <= utf8.MaxRune; r++ {
			s := string(r)
			if utf8.ValidRune(r) && scan(s, 0) > 0 {
				if matched++; !table[s[0]] {
					t.Fatalf("%s: %+q matches, but %#x is said to start nothing", expr, s, s[0])
				}
			}
		}
		if matched == 0 {
			t.Errorf("%s matches no character", expr)
		}
	}
}

// TestScansEqualSteps holds cutting by scanners alone, one inside another, to
// cutting step by step into lists of pieces.
func TestScansEqualSteps(t *testing.T) {
	tok := qwen(t)
	var rest []string
	for expr := range scanners {
		if starts[expr] == nil {
			rest = append(rest, expr)
		}
	}
	r := random(t)
	texts := []string{prose(4, 1<<16), babel(4, 1<<16), goCode(1 << 16)}
	for _, expr := range rest {
		var steps []step
		for _, e := range []string{`\p{N}{1,3}`, `[一-龥぀-ゟ゠-ヿ]+`, expr} {
			more, err := newStep(&part{Type: "Split", Pattern: &pattern{Regex: &e}, Behavior: "Isolated"})
			if err != nil {
				t.Fatal(err)
			}
			steps = append(steps, more...)
		}
		fast, slow := *tok, *tok
		fast.steps, fast.scans = steps, allScanners(steps)
		slow.steps, slow.scans = steps, nil
		if len(fast.scans) != 3 {
			t.Fatalf("%d scanners, want 3", len(fast.scans))
		}
		for range rounds(t, 300) {
			text := realText(r, texts)
			if r.IntN(2) == 0 {
				text = randomText(r, 1+r.IntN(60))
			}
			if got, want := fast.Encode(text, false), slow.Encode(text, false); !slices.Equal(got, want) {
				t.Fatalf("%s: %q\n got %v\nwant %v", expr, text, got, want)
			}
		}
	}
}

func FuzzScanners(f *testing.F) {
	f.Add("\tif x {\n\t\treturn\r\n\t}\n")
	f.Add("I'm we'LL  it'ſ 12345 ünïcödé\u3000x  ")
	all := twins(f)
	f.Fuzz(func(t *testing.T, s string) { // of what a scanner tells apart, a few words show all
		compareTwins(t, all, strings.ToValidUTF8(s[:min(len(s), 256)], "\uFFFD"))
	})
}
