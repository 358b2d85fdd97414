package codec_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/codec"
)

// The public test suites are no part of the module. Each test looks for its
// own where a variable of the environment says, and says how many cases it found
// and how many came out as they should.

func suite(t *testing.T, variable, what string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Skipf("%s does not say where %s is", variable, what)
	}
	return path
}

// TestMessagePackSuite runs kawanet/msgpack-test-suite: every wire form of every
// value decodes into an any that is that value.
func TestMessagePackSuite(t *testing.T) {
	dir := suite(t, "ZOCALO_MSGPACK_SUITE", "a checkout of kawanet/msgpack-test-suite")
	data, err := os.ReadFile(filepath.Join(dir, "dist", "msgpack-test-suite.json"))
	require.NoError(t, err)
	var groups map[string][]map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(data, &groups))
	total, good := 0, 0
	for name, cases := range groups {
		for _, c := range cases {
			var forms []string
			require.NoError(t, json.Unmarshal(c["msgpack"], &forms))
			for _, form := range forms {
				total++
				wire, err := hex.DecodeString(strings.ReplaceAll(form, "-", ""))
				require.NoError(t, err)
				var got any
				if err := (codec.MessagePack{}).Unmarshal(wire, &got); err != nil {
					t.Errorf("%s: %s: %v", name, form, err)
				} else if !sameAs(t, maps.Clone(c), got) {
					t.Errorf("%s: %s: %v (%T)", name, form, got, got)
				} else {
					good++
				}
			}
		}
	}
	t.Logf("%d of %d", good, total)
	require.Positive(t, total)
}

// sameAs compares a value with what a case of the suite says it is.
func sameAs(t *testing.T, c map[string]json.RawMessage, got any) bool {
	delete(c, "msgpack")
	if c["bignum"] != nil { // beside it, where float64 can hold it, stands "number"
		var digits string
		require.NoError(t, json.Unmarshal(c["bignum"], &digits))
		c = map[string]json.RawMessage{"number": json.RawMessage(digits)}
	}
	require.Len(t, c, 1)
	for kind, raw := range c {
		var compact bytes.Buffer
		require.NoError(t, json.Compact(&compact, raw))
		want := compact.String()
		switch kind {
		case "binary":
			b, ok := got.([]byte)
			return ok && fmt.Sprintf("%q", dashed(b)) == want
		case "timestamp":
			at, ok := got.(time.Time)
			return ok && fmt.Sprintf("[%d,%d]", at.Unix(), at.Nanosecond()) == want
		case "ext":
			e, ok := got.(codec.Ext)
			return ok && fmt.Sprintf("[%d,%q]", e.Type, dashed(e.Data)) == want
		case "number":
			x, ok := got.(float64)
			if f, single := got.(float32); single {
				x, ok = float64(f), true
			}
			if !ok {
				return fmt.Sprint(got) == want
			}
			number, err := strconv.ParseFloat(want, 64)
			require.NoError(t, err)
			return x == number
		case "nil", "bool", "string", "array", "map":
			var value any
			require.NoError(t, json.Unmarshal(raw, &value))
			text, err := json.Marshal(got)
			require.NoError(t, err)
			canonical, err := json.Marshal(value)
			require.NoError(t, err)
			return bytes.Equal(text, canonical)
		}
	}
	return false
}

func dashed(b []byte) string {
	parts := make([]string, len(b))
	for i, c := range b {
		parts[i] = hex.EncodeToString([]byte{c})
	}
	return strings.Join(parts, "-")
}

// TestJSONSuite runs nst/JSONTestSuite: texts that must be accepted, that must
// not, and that may be either.
func TestJSONSuite(t *testing.T) {
	dir := suite(t, "ZOCALO_JSON_SUITE", "a checkout of nst/JSONTestSuite")
	files, err := filepath.Glob(filepath.Join(dir, "test_parsing", "*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	good, free := 0, 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		err = codec.JSON{}.Check(data)
		var v any
		if decodeErr := (codec.JSON{}).Unmarshal(data, &v); err != nil {
			require.Error(t, decodeErr, file)
		}
		switch name := filepath.Base(file); {
		case name[0] == 'y' && err != nil:
			t.Errorf("%s: %v", name, err)
		case name[0] == 'n' && err == nil:
			t.Errorf("%s is accepted", name)
		default:
			good++
			if name[0] == 'i' {
				free++
				t.Logf("%s: %v", name, err)
			}
		}
	}
	t.Logf("%d of %d, where %d may be either", good, len(files), free)
}

// TestIDNASuite runs IdnaTestV2.txt of Unicode's UTS 46: the ASCII form of each
// name, or that it has none. It is met as far as the tables go that the Go release
// brings; those of Go 1.26 are Unicode 15.0.
func TestIDNASuite(t *testing.T) {
	data, err := os.ReadFile(suite(t, "ZOCALO_IDNA_TESTS", "a file IdnaTestV2.txt of Unicode"))
	require.NoError(t, err)
	escape := regexp.MustCompile(`\\u[0-9A-Fa-f]{4}|\\x\{[0-9A-Fa-f]+\}`)
	field := func(s string) string {
		if s = strings.TrimSpace(s); s == `""` {
			return ""
		}
		return escape.ReplaceAllStringFunc(s, func(m string) string {
			n, err := strconv.ParseUint(strings.Trim(m[2:], "{}"), 16, 32)
			require.NoError(t, err)
			return string(rune(n))
		})
	}
	idna := lookup(t, "idna")
	total, good := 0, 0
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		columns := strings.Split(line, ";")
		if len(columns) < 5 {
			continue
		}
		// An empty column repeats an earlier one.
		for i, from := range map[int]int{1: 0, 3: 1, 4: 2} {
			if strings.TrimSpace(columns[from]) == "" && i == 3 {
				from = 0
			}
			if strings.TrimSpace(columns[i]) == "" {
				columns[i] = columns[from]
			}
		}
		status := strings.TrimSpace(columns[4])
		valid := status == "" || status == "[]"
		total++
		out, err := idna.Encode([]byte(field(columns[0])))
		if valid == (err == nil) && (err != nil || string(out) == field(columns[3])) {
			good++
		}
		if err == nil {
			text, err := idna.Decode(out)
			require.NoError(t, err, "%q", out)
			again, err := idna.Encode(text)
			require.NoError(t, err, "%q", text)
			require.Equal(t, out, again)
		}
	}
	t.Logf("%d of %d", good, total)
	require.Greater(t, total, 5000)
	require.GreaterOrEqual(t, good*1000, total*970)
}
