package httpx

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A cachePolicy holds the directives of a Cache-Control field, names in lower
// case, values without quotes ([RFC 9111 section 5.2]).
//
// [RFC 9111 section 5.2]: https://www.rfc-editor.org/rfc/rfc9111#section-5.2
type cachePolicy map[string]string

// contradicted is the value of a directive that comes twice, with different
// values. It is no number, and so as good as 0 ([RFC 9111 section 4.2.1]).
//
// [RFC 9111 section 4.2.1]: https://www.rfc-editor.org/rfc/rfc9111#section-4.2.1
const contradicted = "?"

// parsePolicy reads the lines of a Cache-Control field. What is malformed
// does not count.
func parsePolicy(lines []string) cachePolicy {
	if len(lines) == 0 {
		return nil
	}
	policy := make(cachePolicy, 4)
	for _, rest := range lines {
		for rest != "" {
			var item string
			item, rest = cutListItem(rest)
			name, value, hasValue := strings.Cut(item, "=")
			if !isToken(name) || hasValue && value == "" {
				continue
			}
			if strings.HasPrefix(value, `"`) {
				unquoted, ok := unquote(value)
				if !ok {
					continue
				}
				value = unquoted
			}
			name = strings.ToLower(name)
			if old, twice := policy[name]; twice && old != value {
				value = contradicted
			}
			policy[name] = value
		}
	}
	return policy
}

// cutListItem cuts the first item off a comma-separated list. A comma in a
// quoted string does not separate.
func cutListItem(list string) (item, rest string) {
	quoted := false
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			return strings.Trim(list[:i], " \t"), list[i+1:]
		}
	}
	return strings.Trim(list, " \t"), ""
}

// unquote returns the text of a quoted string ([RFC 9110 section 5.6.4]).
//
// [RFC 9110 section 5.6.4]: https://www.rfc-editor.org/rfc/rfc9110#section-5.6.4
func unquote(s string) (text string, ok bool) {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return "", false
	}
	s = s[1 : len(s)-1]
	if strings.IndexByte(s, '\\') < 0 {
		return s, strings.IndexByte(s, '"') < 0
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return "", false
		case s[i] == '\\':
			if i++; i == len(s) {
				return "", false
			}
		}
		out = append(out, s[i])
	}
	return string(out), true
}

func (p cachePolicy) has(name string) bool {
	_, ok := p[name]
	return ok
}

// seconds returns the time that a directive names. One that is there without
// a valid number is as good as 0: the safe side.
func (p cachePolicy) seconds(name string) (d time.Duration, ok bool) {
	value, ok := p[name]
	if !ok {
		return 0, false
	}
	d, _ = deltaSeconds(value)
	return d, true
}

// maxDelta is the largest time that counts; larger ones, which do not fit into
// 31 bits, mean the same ([RFC 9111 section 1.2.2]).
//
// [RFC 9111 section 1.2.2]: https://www.rfc-editor.org/rfc/rfc9111#section-1.2.2
const maxDelta = math.MaxInt32 * time.Second

// deltaSeconds reads a non-negative number of seconds.
func deltaSeconds(s string) (time.Duration, bool) {
	n, ok := decimal(s)
	if !ok {
		return 0, false
	}
	return time.Duration(min(n, math.MaxInt32)) * time.Second, true
}

// parseTargeted reads a field such as CDN-Cache-Control, which is a dictionary
// of Structured Fields ([RFC 9213 section 2.1]). Unlike Cache-Control it
// counts as a whole or not at all.
//
// [RFC 9213 section 2.1]: https://www.rfc-editor.org/rfc/rfc9213#section-2.1
func parseTargeted(lines []string) cachePolicy {
	policy := make(cachePolicy)
	rest := strings.Trim(strings.Join(lines, ","), " ")
	for rest != "" {
		key, after, ok := cutKey(rest)
		if !ok {
			return nil
		}
		value, isNumber := "", false
		if strings.HasPrefix(after, "=") {
			if value, isNumber, after, ok = cutBareItem(after[1:]); !ok {
				return nil
			}
			if value == "?0" { // a directive that says it is not there
				value, key = "", ""
			}
		}
		for strings.HasPrefix(after, ";") { // parameters mean nothing here
			if _, after, ok = cutKey(strings.TrimLeft(after[1:], " ")); !ok {
				return nil
			}
			if strings.HasPrefix(after, "=") {
				if _, _, after, ok = cutBareItem(after[1:]); !ok {
					return nil
				}
			}
		}
		switch key {
		case "max-age", "s-maxage", "stale-while-revalidate", "stale-if-error":
			if !isNumber {
				return nil // of another type than the directive has
			}
		}
		if key != "" {
			policy[key] = value
		}
		after = strings.TrimLeft(after, " \t")
		if after == "" {
			break
		}
		if after[0] != ',' {
			return nil
		}
		if rest = strings.TrimLeft(after[1:], " \t"); rest == "" {
			return nil // a comma with nothing behind it
		}
	}
	if len(policy) == 0 {
		return nil
	}
	return policy
}

// cutKey cuts a key of Structured Fields off ([RFC 9651 section 3.1.2]).
//
// [RFC 9651 section 3.1.2]: https://www.rfc-editor.org/rfc/rfc9651#section-3.1.2
func cutKey(s string) (key, rest string, ok bool) {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c == '*':
		case i > 0 && (isDigit(c) || c == '_' || c == '-' || c == '.'):
		default:
			return s[:i], s[i:], i > 0
		}
	}
	return s, "", s != ""
}

// cutBareItem cuts an item of Structured Fields off and says whether it is an
// integer. Dates and inner lists are no items that a directive has.
func cutBareItem(s string) (value string, isNumber bool, rest string, ok bool) {
	if s == "" {
		return "", false, "", false
	}
	switch c := s[0]; {
	case isDigit(c) || c == '-':
		end := 1
		for end < len(s) && (isDigit(s[end]) || s[end] == '.') {
			end++
		}
		digits := strings.TrimPrefix(s[:end], "-")
		whole, fraction, decimals := strings.Cut(digits, ".")
		if whole == "" || len(digits) > 16 || decimals && (fraction == "" || strings.Contains(fraction, ".")) {
			return "", false, "", false
		}
		return s[:end], !decimals && c != '-', s[end:], true
	case c == '"':
		for i := 1; i < len(s); i++ {
			if s[i] == '\\' {
				i++
			} else if s[i] == '"' {
				return "", false, s[i+1:], true
			}
		}
		return "", false, "", false
	case c == '?':
		if len(s) < 2 || s[1] != '0' && s[1] != '1' {
			return "", false, "", false
		}
		return s[:2], false, s[2:], true
	case c == ':':
		n := strings.IndexByte(s[1:], ':')
		if n < 0 {
			return "", false, "", false
		}
		return "", false, s[n+2:], true
	case c == '*' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
		end := 1
		for end < len(s) && (isToken(s[end:end+1]) || s[end] == ':' || s[end] == '/') {
			end++
		}
		return s[:end], false, s[end:], true
	}
	return "", false, "", false
}

// parseDate reads a date in one of the three forms of [RFC 9110 section
// 5.6.7], letters of any case, and nothing like it: a date that a cache reads
// and others do not would be a freshness that nobody gave.
//
// [RFC 9110 section 5.6.7]: https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7
func parseDate(s string, now time.Time) (time.Time, bool) {
	for _, layout := range []string{http.TimeFormat, "Monday, 02-Jan-06 15:04:05 GMT", time.ANSIC} {
		text := s
		if n := len(s) - len("GMT"); layout != time.ANSIC && n >= 0 {
			text = s[:n] + strings.ToUpper(s[n:])
		}
		t, err := time.Parse(layout, text)
		if err != nil {
			continue
		}
		// time.Parse forgives spaces and missing zeros. The day of the week may
		// be any.
		_, want, _ := strings.Cut(t.Format(layout), " ")
		if _, have, _ := strings.Cut(s, " "); !strings.EqualFold(have, want) {
			continue
		}
		// A year of two digits that seems far ahead is one of the past.
		if strings.Contains(layout, "-06 ") {
			for t.Year() > now.Year()+50 {
				t = t.AddDate(-100, 0, 0)
			}
		}
		return t, true
	}
	return time.Time{}, false
}

// ageValue returns what an Age field says ([RFC 9111 section 5.1]): the first
// member of a list counts, and what is no number does not.
//
// [RFC 9111 section 5.1]: https://www.rfc-editor.org/rfc/rfc9111#section-5.1
func ageValue(lines []string) time.Duration {
	if len(lines) == 0 {
		return 0
	}
	first, _, _ := strings.Cut(lines[0], ",")
	d, _ := deltaSeconds(strings.Trim(first, " \t"))
	return d
}

// heuristicStatus are those that a cache may keep without being told for how
// long ([RFC 9110 section 15.1]).
//
// [RFC 9110 section 15.1]: https://www.rfc-editor.org/rfc/rfc9110#section-15.1
func heuristicStatus(status int) bool {
	switch status {
	case 200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501:
		return true
	}
	return false
}

// maxHeuristic bounds what is guessed.
const maxHeuristic = 24 * time.Hour

// lifetime returns how long a response is fresh, counted from when it was
// made ([RFC 9111 section 4.2.1]), and whether that was said and not guessed.
// The policy is the one that counts: see [Cache.Targeted].
//
// [RFC 9111 section 4.2.1]: https://www.rfc-editor.org/rfc/rfc9111#section-4.2.1
func lifetime(header http.Header, policy cachePolicy, targeted bool, status int, received time.Time) (d time.Duration, explicit bool) {
	if !targeted {
		if d, ok := policy.seconds("s-maxage"); ok {
			return d, true
		}
	}
	if d, ok := policy.seconds("max-age"); ok {
		return d, true
	}
	made := received
	if lines := header["Date"]; len(lines) > 0 {
		if t, ok := parseDate(lines[0], received); ok {
			made = t
		}
	}
	if lines := header["Expires"]; len(lines) > 0 && !targeted {
		if expires, ok := parseDate(lines[0], received); ok && len(lines) == 1 {
			return max(0, expires.Sub(made)), true
		}
		return 0, true
	}
	if lines := header["Last-Modified"]; len(lines) == 1 && (heuristicStatus(status) || policy.has("public")) {
		if modified, ok := parseDate(lines[0], received); ok {
			return min(max(0, made.Sub(modified)/10), maxHeuristic), false
		}
	}
	return 0, false
}

// initialAge returns how old a response was when it came ([RFC 9111 section
// 4.2.3]).
//
// [RFC 9111 section 4.2.3]: https://www.rfc-editor.org/rfc/rfc9111#section-4.2.3
func initialAge(header http.Header, asked, received time.Time) time.Duration {
	apparent := time.Duration(0)
	if lines := header["Date"]; len(lines) > 0 {
		if made, ok := parseDate(lines[0], received); ok {
			apparent = max(0, received.Sub(made))
		}
	}
	return max(apparent, ageValue(header["Age"])+received.Sub(asked))
}

// appendSeconds appends a time as a number of whole seconds.
func appendSeconds(b []byte, d time.Duration) []byte {
	return strconv.AppendInt(b, int64(d/time.Second), 10)
}
