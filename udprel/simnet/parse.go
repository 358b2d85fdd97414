package simnet

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// A ParseError says which part of a link's text form is wrong, and why.
type ParseError struct {
	Part   string // the faulty "key=value"
	Reason string // what is wrong with it
}

// Error describes the fault.
func (e *ParseError) Error() string {
	return fmt.Sprintf("simnet: link %q: %s", e.Part, e.Reason)
}

// A unit is a suffix and what it multiplies by. Longer suffixes stand before
// those that they end in.
type unit struct {
	suffix string
	factor int64
}

var (
	rateUnits = []unit{{"gbit", 1e9}, {"mbit", 1e6}, {"kbit", 1e3}, {"bit", 1}}
	sizeUnits = []unit{{"mib", 1 << 20}, {"kib", 1 << 10}, {"mb", 1e6}, {"kb", 1e3}, {"b", 1}}
)

// ParseLink reads the text form of a link, for example
//
//	rate=20mbit,queue=100kb,delay=40ms,jitter=2ms,loss=2%,burst=8
//
// Keys are rate, queue, delay, jitter, loss, burst, dup, reorder, reorderby,
// mtu, and down without a value; each at most once, in any order. Rates take
// the units bit, kbit, mbit and gbit (powers of 1000), sizes b, kb, mb
// (1000), kib and mib (1024), times those of [time.ParseDuration];
// probabilities are 0 to 1 or 0% to 100%. The empty text is the perfect
// link. An error is a [*ParseError].
func ParseLink(text string) (Link, error) {
	var l Link
	if strings.TrimSpace(text) == "" {
		return l, nil
	}
	seen := make(map[string]bool)
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		key, value, _ := strings.Cut(part, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if seen[key] {
			return Link{}, &ParseError{part, "given twice"}
		}
		seen[key] = true
		if reason := l.set(key, value, part); reason != "" {
			return Link{}, &ParseError{part, reason}
		}
	}
	return l, nil
}

// set changes the knob called key and returns what is wrong with value, if anything.
func (l *Link) set(key, value, part string) (reason string) {
	switch key {
	case "rate":
		l.Rate, reason = parseAmount(value, rateUnits, math.MaxInt64)
	case "queue":
		l.Queue, reason = parseSize(value)
	case "mtu":
		l.MTU, reason = parseSize(value)
	case "delay":
		l.Delay, reason = parseSpan(value)
	case "jitter":
		l.Jitter, reason = parseSpan(value)
	case "reorderby":
		l.ReorderBy, reason = parseSpan(value)
	case "loss":
		l.Loss, reason = parseChance(value)
	case "dup":
		l.Duplicate, reason = parseChance(value)
	case "reorder":
		l.Reorder, reason = parseChance(value)
	case "burst":
		f, err := strconv.ParseFloat(value, 64)
		if err != nil || !(f >= 0 && f <= maxSize) {
			return "want a number of packets"
		}
		l.Burst = f
	case "down":
		if part != "down" {
			return "down takes no value"
		}
		l.Down = true
	default:
		return "unknown key"
	}
	return reason
}

func parseAmount(s string, units []unit, most int64) (int64, string) {
	factor := int64(1)
	lower := strings.ToLower(s)
	for _, u := range units {
		if number, ok := strings.CutSuffix(lower, u.suffix); ok {
			lower, factor = strings.TrimSpace(number), u.factor
			break
		}
	}
	// Whole numbers exactly; 1.5mbit by way of a float.
	if n, err := strconv.ParseInt(lower, 10, 64); err == nil {
		if n < 0 || n > most/factor {
			return 0, "out of range"
		}
		return n * factor, ""
	}
	f, err := strconv.ParseFloat(lower, 64)
	if err != nil {
		return 0, "want a number and perhaps a unit"
	}
	// float64(most) may round up to 2⁶³, which no int64 holds: hence <.
	if f *= float64(factor); !(f >= 0 && f < float64(most)) {
		return 0, "out of range"
	}
	return int64(math.Round(f)), ""
}

func parseSize(s string) (int, string) {
	n, reason := parseAmount(s, sizeUnits, maxSize)
	return int(n), reason
}

func parseSpan(s string) (time.Duration, string) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, "want a time such as 40ms"
	}
	if d < 0 || d > maxTime {
		return 0, "out of range"
	}
	return d, ""
}

func parseChance(s string) (float64, string) {
	number, percent := strings.CutSuffix(s, "%")
	p, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if percent {
		p /= 100
	}
	if err != nil || !(p >= 0 && p <= 1) {
		return 0, "want a probability such as 0.02 or 2%"
	}
	return p, ""
}

// String returns the text form of l, which [ParseLink] reads back to the same
// value if every knob is in range. The perfect link gives the empty text.
func (l Link) String() string {
	var parts []string
	add := func(key, value string) { parts = append(parts, key+"="+value) }
	if l.Rate != 0 {
		add("rate", formatAmount(l.Rate, rateUnits))
	}
	if l.Queue != 0 {
		add("queue", formatAmount(int64(l.Queue), sizeUnits[2:]))
	}
	if l.Delay != 0 {
		add("delay", l.Delay.String())
	}
	if l.Jitter != 0 {
		add("jitter", l.Jitter.String())
	}
	if l.Loss != 0 {
		add("loss", formatChance(l.Loss))
	}
	if l.Burst != 0 {
		add("burst", strconv.FormatFloat(l.Burst, 'g', -1, 64))
	}
	if l.Duplicate != 0 {
		add("dup", formatChance(l.Duplicate))
	}
	if l.Reorder != 0 {
		add("reorder", formatChance(l.Reorder))
	}
	if l.ReorderBy != 0 {
		add("reorderby", l.ReorderBy.String())
	}
	if l.MTU != 0 {
		add("mtu", strconv.Itoa(l.MTU))
	}
	if l.Down {
		parts = append(parts, "down")
	}
	return strings.Join(parts, ",")
}

// formatAmount uses the largest unit that gives a whole number.
func formatAmount(n int64, units []unit) string {
	for _, u := range units {
		if n%u.factor == 0 {
			return strconv.FormatInt(n/u.factor, 10) + u.suffix
		}
	}
	return strconv.FormatInt(n, 10)
}

// formatChance writes a percentage if that reads back exactly.
func formatChance(p float64) string {
	s := strconv.FormatFloat(p*100, 'g', -1, 64) + "%"
	if back, reason := parseChance(s); reason == "" && back == p {
		return s
	}
	return strconv.FormatFloat(p, 'g', -1, 64)
}

// MarshalText returns the text form, so that [flag.TextVar] takes a Link.
func (l Link) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads the text form as [ParseLink] does.
func (l *Link) UnmarshalText(text []byte) error {
	parsed, err := ParseLink(string(text))
	if err == nil {
		*l = parsed
	}
	return err
}
