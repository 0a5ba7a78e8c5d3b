package tokenize

import (
	"go/build"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// Texts for tests and benchmarks, made here: the same seed, the same text.

var (
	functionWords = strings.Fields(`the of and to a in is that it was for on are as with his they at be this
		from I have or by one had not but what all were when we there can an your which their said if do will
		each about how up out them then she many some so these would other into has more her two like him see
		time could no make than first been its who now people my made over did down only way find use may water
		long little very after words called just where most know`)
	stems = strings.Fields(`accept act add adjust adopt adult agree aim air alarm allow amount anchor animal answer
		appear apply arm arrive art ask attack attend author autumn balance band bank base battle beach bear beat
		begin believe belong bend bind bird bless block blood blow board boat body boil bone book border bottle
		bound box branch bread break breath bridge bright bring broad brother build burn bus cabin call camp
		captain car card care carry case cast catch cause centre chain chance change charge chase check child
		choose circle city claim clean clear climb clock close cloud coast cold collect colour comfort command
		common company compare complete concern connect consider contain control cook copy corner correct cost
		count country course cover craft cross crowd current custom cut damage dance danger dark data daughter
		day deal decide deep defend degree deliver depend desert design desk detail develop differ dinner direct
		discover discuss distance divide doctor dog door doubt draw dream dress drive drop dust duty early earn
		earth east edge effect effort electric element employ empty end engine enter equal event examine example
		exchange exercise expect explain express extend eye face fact fail fair fall family famous farm fashion
		father favour fear feel fellow field fight figure fill film final finger finish fire fish fit flag flame
		flat floor flow flower fly follow foot force foreign forest forget form fortune forward frame free friend
		front fruit full game garden gate gather gentle glass gold govern grain grand grass great green ground
		group grow guard guess guide habit hair half hand hang happen harbour hard harvest head heal hear heart
		heat heavy hill history hold home honour hope horse hotel hour house hunt hurry idea image improve inch
		include increase inform insect inside instrument interest invent iron island join journey judge jump keep
		key kind king kitchen knowledge labour lady lake land language laugh lead leaf learn leave letter level
		library life lift light limit line liquid listen live load local lock look loss loud machine manage map
		mark market master match matter meal measure meet member memory mention metal method middle milk mind
		minute mirror model modern moment money month moon morning mother motor mountain mouth move music name
		nation nature neighbour nest night noise north note number object observe ocean offer office oil open
		operate opinion order organ orange oxygen page paint pair paper parent part party pass path pattern pay
		peace pencil perform period person piano picture piece pilot place plan plane plant plate play point
		police pool poor port position possible pound power practise prepare present press price print private
		problem process produce product promise proper protect provide public pull purpose push quality quarter
		question quick quiet race radio rain raise range rate reach read ready reason receive record region relate
		remain remember repeat reply report request rest result return ride ring rise river road rock roll room
		root rope rough round row rule safe sail salt sand scale school science score sea search season seat
		second secret section seed sell send sense sentence separate serve settle shade shape share sharp sheet
		shine ship shoe shop shore short shout show sign silence silver simple sing sister skill skin sleep slow
		smell smile smoke smooth snow social soft soil soldier solve song sound source south space speak special
		speech spell spend spirit spot spread spring square stage stamp stand star start state station steam
		steel step stick stone stop store storm story strange stream street stretch string strong student study
		subject succeed sugar suggest suit summer sun supply support surface surprise swim switch symbol system
		table tail talk taste teach team tear telephone temper term test thank theatre thick thin thing think
		thought thread throw thunder ticket tie tool top total touch tower town track trade train travel treat
		tree triangle trip trouble truck trust turn type uncle unit valley value vessel view village visit voice
		vowel wait walk wall want warm wash watch wave wear weather weight west wheel whistle white wide wife
		wild wind window winter wire wish woman wonder wood wool work world write yard year yellow young`)
	suffixes  = strings.Fields(`s ed ing er ly ment ness able ation ers ings ful less ish ist`)
	prefixes  = strings.Fields(`un re over under pre mis out inter counter`)
	syllables = strings.Fields(`ba dor mel an tri vos ke lin mar shu ter qua ril ost gen wy fal dru ne hol bri cas`)
)

// prose is English-like text of about n bytes: common words, stems with
// affixes, names, numbers, sentences and paragraphs.
func prose(seed uint64, n int) string {
	r := rand.New(rand.NewPCG(seed, 1))
	pick := func(list []string) string { return list[r.IntN(len(list))] }
	var b strings.Builder
	for b.Len() < n {
		for s := 2 + r.IntN(5); s > 0; s-- {
			words := 5 + r.IntN(18)
			for i := range words {
				w := ""
				switch x := r.IntN(100); {
				case x < 45:
					w = functionWords[int(float64(len(functionWords))*r.Float64()*r.Float64())]
				case x < 72:
					w = pick(stems)
				case x < 92:
					w = pick(stems) + pick(suffixes)
				case x < 95:
					w = pick(prefixes) + pick(stems) + pick(suffixes)
				case x < 98:
					w = pick(syllables) + pick(syllables) + pick(syllables)
					w = strings.ToUpper(w[:1]) + w[1:]
				default:
					w = strings.Repeat("7", 1+r.IntN(3)) + "," + "250"
				}
				if i == 0 {
					w = strings.ToUpper(w[:1]) + w[1:]
				} else {
					b.WriteByte(' ')
				}
				b.WriteString(w)
				if i > 0 && i < words-1 && r.IntN(9) == 0 {
					b.WriteString(pick([]string{",", ",", ";", "'s", " –"}))
				}
			}
			b.WriteString(pick([]string{". ", ". ", ". ", "? ", "! "}))
		}
		b.WriteString("\n\n")
	}
	return b.String()
}

// alphabets are the scripts multilingual text is made of.
var alphabets = [][]rune{
	span('а', 'я'), span('α', 'ω'), span('ا', 'ي'), span('א', 'ת'), span('क', 'ह'), span('ก', 'ฮ'),
	span('一', '丿'), span('人', '仿'), span('大', '奿'), span('あ', 'ん'), span('ア', 'ン'), span('가', '깋'), span('ā', 'ž'),
	span('ა', 'ჰ'), span('😀', '😿'), span('ا', 'ٟ'), span('ा', '्'),
}

func span(lo, hi rune) (all []rune) {
	for r := lo; r <= hi; r++ {
		all = append(all, r)
	}
	return all
}

// babel is text of about n bytes in many scripts, with Latin in between.
func babel(seed uint64, n int) string {
	r := rand.New(rand.NewPCG(seed, 2))
	var b strings.Builder
	for b.Len() < n {
		a := alphabets[r.IntN(len(alphabets))]
		for w := 3 + r.IntN(12); w > 0; w-- {
			for c := 2 + r.IntN(7); c > 0; c-- {
				b.WriteRune(a[r.IntN(len(a))])
			}
			b.WriteByte(' ')
		}
		b.WriteString(functionWords[r.IntN(len(functionWords))])
		b.WriteString([]string{". ", ", ", "\n", "。", "، ", " — "}[r.IntN(6)])
	}
	return b.String()
}

// goCode is n bytes of the Go library's source: tab-indented code.
func goCode(n int) string { return goSource(n, func(src string) string { return src }, "net/*/*.go") }

// goComments is n bytes of the comments in the Go library's source: English
// prose that people wrote.
func goComments(n int) string {
	return goSource(n, func(src string) string {
		var b strings.Builder
		for line := range strings.Lines(src) {
			if text, ok := strings.CutPrefix(strings.TrimLeft(line, "\t"), "// "); ok {
				b.WriteString(text)
			}
		}
		return b.String()
	}, "*/*.go", "*/*/*.go")
}

// goSource reads the Go library's files, or without them this package's.
func goSource(n int, part func(src string) string, patterns ...string) string {
	var paths []string
	for _, p := range patterns {
		found, _ := filepath.Glob(filepath.Join(build.Default.GOROOT, "src", filepath.FromSlash(p)))
		paths = append(paths, found...)
	}
	more, _ := filepath.Glob("*.go")
	var b strings.Builder
	for _, p := range append(paths, more...) {
		if b.Len() >= n {
			break
		}
		if src, err := os.ReadFile(p); err == nil {
			b.WriteString(part(string(src)))
		}
	}
	s := b.String()
	for len(s) < n {
		s += s
	}
	return s[:n]
}
