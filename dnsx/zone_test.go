package dnsx

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// top is the least that a zone needs.
const top = "$ORIGIN z.test.\n$TTL 300\n@ SOA ns h 1 2 3 4 60\n@ NS ns\nns A 192.0.2.1\n"

func TestBadZones(t *testing.T) {
	for _, test := range []struct {
		name   string
		text   string
		line   int
		reason string
	}{
		{"empty", "", 0, "no records"},
		{"only comments", "; nothing\n", 0, "no records"},
		{"no SOA", "$ORIGIN z.test.\nwww 60 A 192.0.2.1\n", 0, "no SOA record"},
		{"no NS", "$ORIGIN z.test.\n@ 60 SOA ns h 1 2 3 4 5\n", 0, "z.test. has no NS record"},
		{"two SOAs", top + "@ SOA ns h 2 2 3 4 60\n", 6, "a second SOA record"},
		{"a SOA elsewhere", top + "www SOA ns h 2 2 3 4 60\n", 6, "its SOA record stands there"},
		{"outside", top + "www.example.com. A 192.0.2.2\n", 6, "www.example.com. A: outside of the zone z.test."},
		{"looks inside", top + "www.xz.test. A 192.0.2.2\n", 6, "outside of the zone"},
		{"outside, before the SOA", "a.example. 60 A 192.0.2.2\n" + top, 1, "outside of the zone"},
		{"CNAME and other", top + "a CNAME b\na A 192.0.2.2\n", 7, "beside a CNAME record"},
		{"other and CNAME", top + "a A 192.0.2.2\n\na CNAME b\n", 8, "a CNAME beside other records"},
		{"two CNAMEs", top + "a CNAME b\na CNAME c\n", 7, "a second CNAME record"},
		{"CNAME at the top", top + "@ CNAME b\n", 6, "a CNAME beside other records"},
		{"two DNAMEs", top + "a DNAME b\na DNAME c\n", 7, "a second DNAME record"},
		{"below a DNAME", top + "a DNAME b\nx.a A 192.0.2.2\n", 0, "x.a.z.test. stands below the DNAME record of a.z.test."},
		{"class", top + "a CH A 192.0.2.2\n", 6, "class"},
		{"no address", top + "a A 192.0.2\n", 6, "bad A"},
		{"unknown type", top + "a NONSENSE x\n", 6, "NONSENSE"},
		{"a record without data", top + "a MX\n", 6, "no data"},
		{"an address without data", top + "a A\n", 6, ""},
		{"open bracket", top + "a TXT ( \"x\"\n", 6, "unbalanced brace"},
		{"open quote", top + "a TXT \"x\n", 6, ""},
		{"long label", top + strings.Repeat("a", 64) + " A 192.0.2.2\n", 6, "bad owner name"},
		{"$INCLUDE", top + "$INCLUDE /etc/passwd\n", 6, "$INCLUDE directive not allowed"},
		{"a type for messages", top + "a OPT 1\n", 6, ""},
		{"no origin", "@ 60 SOA ns h 1 2 3 4 5\n", 1, "begin the file with $ORIGIN"},
		{"no origin, by name", "www 60 A 192.0.2.1\n", 1, "begin the file with $ORIGIN"},
		{"line of a long record", top + "a TXT (\n \"x\"\n \"y\"\n)\na CNAME b\n", 10, "a CNAME beside other records"},
		{"bytes", "\x00\xff\xfe\x01\n", 1, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := ParseZone(strings.NewReader(test.text), "", "z.zone")
			wrong, ok := errors.AsType[*ZoneError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, test.line, wrong.Line, "%v", err)
			require.Contains(t, wrong.Reason, test.reason)
			if test.line > 0 {
				require.Contains(t, err.Error(), fmt.Sprintf("dnsx: z.zone:%d: ", test.line))
			}
		})
	}
	_, err := ParseZone(strings.NewReader(top), strings.Repeat("a", 64), "")
	require.ErrorContains(t, err, "not a domain name")
	_, err = ParseZone(iotest.ErrReader(os.ErrPermission), "", "z.zone")
	require.ErrorIs(t, err, os.ErrPermission)
}

func TestZoneWarnings(t *testing.T) {
	z, err := ParseZone(strings.NewReader(top+`
a	60 A 192.0.2.2
a	61 A 192.0.2.3
mail	MX 10 nowhere
mail2	MX 10 alias
alias	CNAME a
sub	NS ns.sub
sub	NS ns.elsewhere.test.
sub2	NS ns.sub
wild	MX 10 x.w
*.w	A 192.0.2.4
fine	MX 10 host.sub
null	MX 0 .
a	A 192.0.2.2
`), "", "z.zone")
	require.NoError(t, err)
	require.Equal(t, []string{
		"z.zone:8: a.z.test. A: TTL 61 differs from 60 before it, which counts",
		"z.zone: mail.z.test. MX: nowhere.z.test. has no address",
		"z.zone: mail2.z.test. MX: alias.z.test. is an alias, which is not allowed there",
		"z.zone: sub.z.test. NS: no glue, that is, no address for ns.sub.z.test.: the delegation leads nowhere",
	}, z.Warnings())
}

func TestZoneRecords(t *testing.T) {
	z := loadZone(t, "plant.test")
	require.Equal(t, "plant.test.", z.Origin())
	require.Equal(t, uint32(2026010101), z.Serial())
	var first []string
	var lines strings.Builder
	for r := range z.Records() {
		fmt.Fprintln(&lines, r)
		if len(first) < 3 {
			first = append(first, r.Name+" "+r.Type.String())
		}
	}
	require.Equal(t, []string{"plant.test. SOA", "plant.test. NS", "plant.test. NS"}, first)
	require.Contains(t, lines.String(), "Upper.Case.plant.test.\t3600\tIN\tA\t192.0.2.6\n")
	require.Contains(t, lines.String(), "unknown.plant.test.\t3600\tIN\tTYPE65280\t\\# 4 0a000001\n")

	// What is written reads as the same zone.
	again, err := ParseZone(strings.NewReader(lines.String()), "", "")
	require.NoError(t, err)
	require.Equal(t, slices.Collect(z.Records()), slices.Collect(again.Records()))
}

func TestZoneFileForms(t *testing.T) {
	for name, text := range map[string]string{
		"records before the SOA": "www.z.test. 60 A 192.0.2.2\nz.test. 60 SOA ns.z.test. h.z.test. 1 2 3 4 5\nz.test. 60 NS ns.example.\n",
		"CRLF":                   "$ORIGIN z.test.\r\n@ 60 SOA ns h 1 2 3 4 5\r\n@ 60 NS ns.example.\r\nwww 60 A 192.0.2.2\r\n",
		"no newline at the end":  "$ORIGIN z.test.\n@ 60 SOA ns h 1 2 3 4 5\n@ 60 NS ns.example.\nwww 60 A 192.0.2.2",
		"no TTL anywhere":        "$ORIGIN z.test.\n@ SOA ns h 1 2 3 4 5\n@ NS ns.example.\nwww A 192.0.2.2",
		"repeats":                "$ORIGIN z.test.\n@ 60 SOA ns h 1 2 3 4 5\n@ 60 NS ns.example.\nwww 60 A 192.0.2.2\nWWW 60 A 192.0.2.2\n@ 60 SOA ns h 1 2 3 4 5\n",
	} {
		t.Run(name, func(t *testing.T) {
			z, err := ParseZone(strings.NewReader(text), "", "")
			require.NoError(t, err)
			require.Len(t, slices.Collect(z.Records()), 3)
		})
	}
	z, err := ParseZone(strings.NewReader("@ 60 SOA ns h 1 2 3 4 5\n@ 60 NS ns\nns 60 A 192.0.2.1\n"), "Z.Test", "")
	require.NoError(t, err)
	require.Equal(t, "z.test.", z.Origin())
}

func FuzzParseZone(f *testing.F) {
	files, err := filepath.Glob("testdata/zones/*.zone")
	require.NoError(f, err)
	require.NotEmpty(f, files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(f, err)
		f.Add(string(text))
	}
	f.Add(top)
	f.Add("$TTL 1\n\\000\\255.z. SOA . . 1 2 3 4 5\n")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(strings.ToUpper(text), "GENERATE") {
			return // many records from few octets: bounded, but too slow for a fuzzer
		}
		z, err := ParseZone(strings.NewReader(text), "", "")
		if err != nil {
			return
		}
		var lines strings.Builder
		for r := range z.Records() {
			fmt.Fprintln(&lines, r)
		}
		again, err := ParseZone(strings.NewReader(lines.String()), "", "")
		require.NoError(t, err, "%s", lines.String())
		require.Equal(t, slices.Collect(z.Records()), slices.Collect(again.Records()))
		// Whatever it is, it can be served.
		server := &Server{Zones: []*Zone{z}}
		for r := range z.Records() {
			query, err := NewQuery(r.Name, r.Type).Pack()
			require.NoError(t, err)
			ask(t, server, query)
		}
	})
}
