package jinja

import (
	"fmt"
	"strings"
	"time"
)

// strftime formats a time as C does in its own locale, with glibc's flags:
// - for no padding, 0 and _ to pad with zeros or spaces, ^ for capitals.
func strftime(t time.Time, format string) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		start := i
		i++
		flag := byte(0)
		if strings.IndexByte("-_0^", format[i]) >= 0 && i+1 < len(format) {
			flag = format[i]
			i++
		}
		s, ok := directive(t, format[i], flag)
		if !ok {
			s = format[start : i+1]
		}
		if flag == '^' {
			s = strings.ToUpper(s)
		}
		b.WriteString(s)
	}
	return b.String()
}

// layouts are directives that Go has a layout for.
var layouts = map[byte]string{
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'h': "Jan", 'B': "January",
	'c': "Mon Jan _2 15:04:05 2006", 'D': "01/02/06", 'x': "01/02/06", 'F': "2006-01-02",
	'p': "PM", 'P': "pm", 'r': "03:04:05 PM", 'R': "15:04", 'T': "15:04:05", 'X': "15:04:05",
}

// texts are directives that are the same at any time; datetime.now() knows no zone.
var texts = map[byte]string{'n': "\n", 't': "\t", '%': "%", 'z': "", 'Z': ""}

// numbers are directives that are numbers, so wide, padded with zeros or spaces.
var numbers = map[byte]struct {
	width int
	pad   byte
	of    func(time.Time) int
}{
	'C': {2, '0', func(t time.Time) int { return t.Year() / 100 }},
	'd': {2, '0', time.Time.Day},
	'e': {2, ' ', time.Time.Day},
	'g': {2, '0', func(t time.Time) int { return isoYear(t) % 100 }},
	'G': {4, '0', isoYear},
	'H': {2, '0', time.Time.Hour},
	'k': {2, ' ', time.Time.Hour},
	'I': {2, '0', hour12},
	'l': {2, ' ', hour12},
	'j': {3, '0', time.Time.YearDay},
	'm': {2, '0', func(t time.Time) int { return int(t.Month()) }},
	'M': {2, '0', time.Time.Minute},
	'S': {2, '0', time.Time.Second},
	'u': {1, '0', func(t time.Time) int { return sinceMonday(t) + 1 }},
	'U': {2, '0', func(t time.Time) int { return (t.YearDay() + 6 - int(t.Weekday())) / 7 }},
	'V': {2, '0', func(t time.Time) int { _, week := t.ISOWeek(); return week }},
	'w': {1, '0', func(t time.Time) int { return int(t.Weekday()) }},
	'W': {2, '0', func(t time.Time) int { return (t.YearDay() + 6 - sinceMonday(t)) / 7 }},
	'y': {2, '0', func(t time.Time) int { return t.Year() % 100 }},
	'Y': {4, '0', time.Time.Year},
}

func isoYear(t time.Time) int     { year, _ := t.ISOWeek(); return year }
func hour12(t time.Time) int      { return (t.Hour()+11)%12 + 1 }
func sinceMonday(t time.Time) int { return (int(t.Weekday()) + 6) % 7 }

func directive(t time.Time, c, flag byte) (string, bool) {
	if layout := layouts[c]; layout != "" {
		return t.Format(layout), true
	}
	if text, ok := texts[c]; ok {
		return text, true
	}
	switch c {
	case 'f':
		return fmt.Sprintf("%06d", t.Nanosecond()/1000), true
	case 's':
		return fmt.Sprint(t.Unix()), true
	}
	n, ok := numbers[c]
	if !ok {
		return "", false
	}
	switch flag {
	case '-':
		return fmt.Sprint(n.of(t)), true
	case '_':
		n.pad = ' '
	case '0':
		n.pad = '0'
	}
	if n.pad == '0' {
		return fmt.Sprintf("%0*d", n.width, n.of(t)), true
	}
	return fmt.Sprintf("%*d", n.width, n.of(t)), true
}
