package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t) }

// Every number below n survives both orders of the two keys, and the
// arithmetic agrees with math/big's.
func TestToyRSA(t *testing.T) {
	for _, test := range []struct{ p, q, e, d uint64 }{
		{61, 53, 17, 2753}, // the example of many a textbook
		{11, 29, 3, 187},
		{2, 131, 3, 87},
		{257, 241, 65537 % 61440, 0},
	} {
		k, err := newToyKey(test.p, test.q, test.e)
		require.NoError(t, err)
		if test.d != 0 {
			require.Equal(t, test.d, k.d)
		}
		require.Equal(t, new(big.Int).ModInverse(big.NewInt(int64(k.e)), big.NewInt(int64(k.phi))).Uint64(), k.d)
		for m := range k.n {
			c, _ := power(m, k.e, k.n)
			back, _ := power(c, k.d, k.n)
			require.Equal(t, m, back)
			s, _ := power(m, k.d, k.n)
			back, _ = power(s, k.e, k.n)
			require.Equal(t, m, back)
		}
	}
	largest, err := newToyKey(65521, 65519, 11)
	require.NoError(t, err)
	c, multiplications := power(largest.n-1, largest.d, largest.n)
	want := new(big.Int).Exp(big.NewInt(int64(largest.n-1)), big.NewInt(int64(largest.d)), big.NewInt(int64(largest.n)))
	require.Equal(t, want.Uint64(), c, "no overflow")
	require.LessOrEqual(t, multiplications, 64)

	for _, bad := range [][3]uint64{
		{61, 61, 17}, {61, 51, 17}, {1, 53, 17}, {0, 53, 17}, {2, 3, 5}, {61, 53, 15}, {61, 53, 1}, {61, 53, 3120}, {65537, 53, 17},
	} {
		_, err := newToyKey(bad[0], bad[1], bad[2])
		require.Error(t, err, "%v", bad)
	}
	_, _, ok := inverse(6, 9)
	require.False(t, ok)
}

func TestFactor(t *testing.T) {
	for n, want := range map[uint64]uint64{2: 2, 3: 3, 4: 2, 9: 3, 25: 5, 3233: 53, 65521: 65521, 65521 * 65519: 65519} {
		f, _ := factor(t.Context(), n)
		require.Equal(t, want, f, "%d", n)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	f, _ := factor(gone, 216391961*241116943)
	require.Zero(t, f, "it stops when it is told to")
	for size := 8; size <= 20; size++ {
		p := prime(rand.New(rand.NewPCG(uint64(size), 0)), size)
		require.True(t, new(big.Int).SetUint64(p).ProbablyPrime(20))
		require.Equal(t, size, new(big.Int).SetUint64(p).BitLen())
	}
}

func TestRSACommand(t *testing.T) {
	got := clitest.Run(t, "", "rsa", "-text", "¡a\x1b")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "n = p·q = 3233, e = 17")
	require.Contains(t, got.Stdout, `means "¡a\x1b"`, "read without the key, and quoted")
	for _, args := range [][]string{
		{"rsa", "-text", ""},
		{"rsa", "-text", strings.Repeat("x", 65)},
		{"rsa", "-p", "62"},
		{"rsa", "-p", "53"},
		{"rsa", "-p", "65522"},
		{"rsa", "-e", "2"},
		{"rsa", "-e", "15"},
		{"oneway", "-bits", "31"},
		{"cost", "-time", "0s"},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 2, got.Status, "%v", args)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
	}
}

// The way back grows with the size of the numbers; the way forth does not.
func TestOneWay(t *testing.T) {
	got := clitest.Run(t, "", "oneway", "-bits", "20", "-seed", "3")
	require.Equal(t, 0, got.Status, got.Stderr)
	rows := regexp.MustCompile(`(?m)^\s*(\d+) +(\d+) · (\d+) = (\d+) +1 +(\d+) .*1 division`).FindAllStringSubmatch(got.Stdout, -1)
	require.Len(t, rows, 4)
	for _, row := range rows {
		var x [6]uint64
		for i := 1; i < 6; i++ {
			var err error
			x[i], err = strconv.ParseUint(row[i], 10, 64)
			require.NoError(t, err)
		}
		require.Equal(t, x[4], x[2]*x[3])
		require.Equal(t, x[2]-1, x[5], "as many divisions as it takes to come to the smaller factor")
	}
}

// people makes persons with a ring of their cards. Two may have the same name.
func people(t testing.TB, names ...string) (ring, map[string]*person) {
	t.Helper()
	var r ring
	all := make(map[string]*person)
	for _, file := range names {
		name, _, _ := strings.Cut(file, "-")
		p, err := newPerson(name)
		require.NoError(t, err)
		p.file = file
		r = append(r, p.card)
		all[file] = p
	}
	return r, all
}

func TestBelieve(t *testing.T) {
	r, all := people(t, "ana", "luis", "rosa", "raul", "eva", "zoe", "rosa-impostor", "mallory")
	for _, pair := range [][2]string{
		{"ana", "luis"},
		{"luis", "rosa"},
		{"rosa", "raul"},
		{"raul", "eva"},
		{"ana", "zoe"},
		{"zoe", "eva"},
		{"mallory", "rosa-impostor"},
		{"rosa-impostor", "mallory"},
		{"mallory", "ana"},
	} {
		all[pair[0]].endorse(all[pair[1]].card)
	}
	for _, test := range []struct {
		as          string
		need, depth int
		want        map[string]int
	}{
		{"ana", 1, 1, map[string]int{"ana": 0, "luis": 1, "zoe": 1}},
		{"ana", 1, 2, map[string]int{"ana": 0, "luis": 1, "zoe": 1, "rosa": 2, "eva": 2}},
		{"ana", 1, 9, map[string]int{"ana": 0, "luis": 1, "zoe": 1, "rosa": 2, "eva": 2, "raul": 3}},
		{"ana", 2, 9, map[string]int{"ana": 0, "luis": 1, "zoe": 1}},
		{"luis", 1, 9, map[string]int{"luis": 0, "rosa": 1, "raul": 2, "eva": 3}},
		{"eva", 1, 9, map[string]int{"eva": 0}},
		{"mallory", 1, 1, map[string]int{"mallory": 0, "rosa-impostor": 1, "ana": 1}},
	} {
		got := make(map[string]int)
		for c, b := range r.believe(all[test.as], test.need, test.depth) {
			got[c.file] = b.level
		}
		require.Equal(t, test.want, got, "%+v", test)
	}
	// Two who vouch, once each, however often they say so.
	all["luis"].endorse(all["eva"].card)
	all["luis"].endorse(all["eva"].card)
	require.Len(t, all["eva"].Endorsements, 3)
	got := r.believe(all["ana"], 2, 9)
	require.Equal(t, 2, got[all["eva"].card].level)
	require.Equal(t, []string{"zoe", "luis"}, got[all["eva"].card].by)

	// An endorsement that its endorser did not sign is none, nor one that was
	// given for another card.
	all["rosa-impostor"].Endorsements = []endorsement{
		{By: all["ana"].fingerprint(), Signature: make([]byte, ed25519.SignatureSize)},
		{By: all["ana"].fingerprint(), Signature: all["luis"].Endorsements[0].Signature},
		{By: all["luis"].fingerprint(), Signature: all["rosa"].Endorsements[0].Signature},
		{By: "nobody", Signature: nil},
	}
	require.NotContains(t, r.believe(all["ana"], 1, 9), all["rosa-impostor"].card)
	// And a person whose own card is not in the ring believes nobody.
	require.Empty(t, ring{all["luis"].card}.believe(all["ana"], 1, 9))
}

// A card cannot be changed without its owner; a copy of it can, and is another.
func TestCardIsSigned(t *testing.T) {
	_, all := people(t, "ana", "eva")
	ana, eva := all["ana"], all["eva"]
	data, err := ana.encode()
	require.NoError(t, err)
	c, err := parseCard(data)
	require.NoError(t, err)
	require.Equal(t, ana.fingerprint(), c.fingerprint())
	for name, change := range map[string]func(c *card){
		"name":       func(c *card) { c.Name = "eva" },
		"sealing":    func(c *card) { c.Seal = eva.Seal },
		"verifying":  func(c *card) { c.Verify = eva.Verify },
		"signature":  func(c *card) { c.Self[7] ^= 1 },
		"no key":     func(c *card) { c.Seal = nil },
		"other name": func(c *card) { c.Name = "../ana" },
		"many": func(c *card) {
			c.Endorsements = make([]endorsement, maxEndorsements+1)
		},
	} {
		changed, err := parseCard(data)
		require.NoError(t, err)
		change(changed)
		bad, err := changed.encode()
		require.NoError(t, err)
		_, err = parseCard(bad)
		require.ErrorIs(t, err, errCard, name)
	}
	for _, text := range []string{"", "null", "{}", "[]", string(data) + "{}", strings.Replace(string(data), `"name"`, `"nome"`, 1), string(data[:len(data)/2])} {
		_, err := parseCard([]byte(text))
		require.ErrorIs(t, err, errCard, "%q", text)
	}
	for _, name := range []string{"", "Ana", "a b", "../x", "ana\n", strings.Repeat("a", 33), "-a", "ñandú"} {
		_, err := newPerson(name)
		require.ErrorIs(t, err, errCard, "%q", name)
	}
	private, err := ana.privateKeys()
	require.NoError(t, err)
	_, err = parsePerson(eva.card, private)
	require.Error(t, err, "another's keys")
	for _, bad := range [][]byte{nil, private[:100], []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")} {
		_, err = parsePerson(ana.card, bad)
		require.Error(t, err)
	}
}

func TestLetter(t *testing.T) {
	r, all := people(t, "ana", "luis", "rosa")
	ana, luis, rosa := all["ana"], all["luis"], all["rosa"]
	for _, text := range []string{"", "until tomorrow", strings.Repeat("x", maxLetter)} {
		letter, err := ana.write(luis.card, []byte(text))
		require.NoError(t, err)
		from, got, err := luis.read(r, letter)
		require.NoError(t, err)
		require.Same(t, ana.card, from)
		require.Equal(t, text, string(got))
		block, _ := pem.Decode(letter)
		require.Len(t, block.Bytes, len(text)+letterHead+sealedExtra)
		_, _, err = rosa.read(r, letter)
		require.ErrorIs(t, err, errNotForUs)
	}
	_, err := ana.write(luis.card, make([]byte, maxLetter+1))
	require.ErrorIs(t, err, errLetter)

	// The same letter twice looks different: nothing can be guessed by trying.
	one, err := ana.write(luis.card, []byte("yes"))
	require.NoError(t, err)
	two, err := ana.write(luis.card, []byte("yes"))
	require.NoError(t, err)
	require.NotEqual(t, one, two)

	// Every bit counts.
	block, _ := pem.Decode(one)
	for i := range len(block.Bytes) * 8 {
		changed := slices.Clone(block.Bytes)
		changed[i/8] ^= 1 << (i % 8)
		_, _, err := luis.read(r, pem.EncodeToMemory(&pem.Block{Type: letterType, Bytes: changed}))
		require.ErrorIs(t, err, errNotForUs, "bit %d", i)
	}

	// Luis opens Ana's letter and seals it anew for Rosa, who must not take it
	// for Ana's to her.
	from, reader := ana.id(), luis.id()
	signature := ed25519.Sign(ana.sign, statement("letter", from[:], reader[:], []byte("yes")))
	forwarded, err := sealFor(rosa.card, slices.Concat(from[:], signature, []byte("yes")))
	require.NoError(t, err)
	_, _, err = rosa.read(r, forwarded)
	require.ErrorIs(t, err, errNotHers)

	// A signature given for something else is none under a letter.
	forged, err := sealFor(rosa.card, slices.Concat(from[:], ana.Self, []byte("yes")))
	require.NoError(t, err)
	_, _, err = rosa.read(r, forged)
	require.ErrorIs(t, err, errNotHers)

	short, err := sealFor(rosa.card, []byte("no signature"))
	require.NoError(t, err)
	_, _, err = rosa.read(r, short)
	require.ErrorIs(t, err, errLetter)
	unknown, err := sealFor(rosa.card, make([]byte, letterHead))
	require.NoError(t, err)
	_, _, err = rosa.read(r, unknown)
	require.ErrorIs(t, err, errStranger)
	for _, bad := range []string{"", "hola", string(one) + string(two), "-----BEGIN X-----\n-----END X-----\n", "-----BEGIN " + letterType + "-----\n-----END " + letterType + "-----\n"} {
		_, _, err := luis.read(r, []byte(bad))
		require.Error(t, err, "%q", bad)
	}
}

// play runs a command that must succeed.
func play(t *testing.T, args ...string) string {
	t.Helper()
	got := clitest.Run(t, "", args...)
	require.Equal(t, 0, got.Status, "%v: %s", args, got.Stderr)
	return got.Stdout
}

// fail runs a command that must fail, with status 1, and returns why.
func fail(t *testing.T, args ...string) string {
	t.Helper()
	got := clitest.Run(t, "", args...)
	require.Equal(t, 1, got.Status, "%v: %s", args, got.Stdout)
	require.Empty(t, got.Stdout)
	require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
	return got.Stderr
}

func TestCommands(t *testing.T) {
	dir := t.TempDir()
	fingerprint := func(out string) string {
		_, f, _ := strings.Cut(strings.TrimSpace(out), "fingerprint ")
		require.Len(t, f, 64)
		return f
	}
	play(t, "card", "-dir", dir, "-name", "ana")
	luis := fingerprint(play(t, "card", "-dir", dir, "-name", "luis"))
	impostor := fingerprint(play(t, "card", "-dir", dir, "-name", "luis", "-file", "impostor"))
	require.NotEqual(t, luis, impostor)
	info, err := os.Stat(filepath.Join(dir, "ana.key"))
	require.NoError(t, err)
	if filepath.Separator == '/' {
		require.Equal(t, os.FileMode(0o600), info.Mode())
	}
	require.Contains(t, fail(t, "card", "-dir", dir, "-name", "ana"), "exist", "never overwritten")

	require.Contains(t, fail(t, "endorse", "-dir", dir, "-as", "ana", "-who", "impostor", "-fingerprint", luis), "another fingerprint")
	play(t, "endorse", "-dir", dir, "-as", "ana", "-who", "luis", "-fingerprint", strings.ToUpper(luis))
	require.Contains(t, play(t, "cards", "-dir", dir, "-as", "ana"), "impostor.card: luis, "+impostor[:16]+"…: NOT believed")
	require.Contains(t, play(t, "cards", "-dir", dir), "luis.card: luis, fingerprint "+luis)

	letter := filepath.Join(dir, "letter")
	require.Contains(t, fail(t, "write", "-dir", dir, "-as", "ana", "-to", "impostor", "-text", "x"), "impostor")
	play(t, "write", "-dir", dir, "-as", "ana", "-to", "luis", "-text", "one\x1b[2Jtwo", "-out", letter)
	require.Contains(t, fail(t, "read", "-dir", dir, "-as", "luis", letter), "nobody vouches")
	require.Equal(t, "signed by somebody who calls himself ana (ana.card), for whom nobody vouches\n\"one\\x1b[2Jtwo\"\n", play(t, "read", "-dir", dir, "-as", "luis", "-stranger", letter))
	require.Contains(t, fail(t, "read", "-dir", dir, "-as", "impostor", letter), "not for this key")
	require.Contains(t, fail(t, "read", "-dir", dir, "-as", "nobody", letter), "no card")
	require.Contains(t, fail(t, "read", "-dir", dir, "-as", "luis", filepath.Join(dir, "none")), "none")

	got := clitest.Run(t, "from standard input", "write", "-dir", dir, "-as", "ana", "-to", "luis")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.NoError(t, os.WriteFile(letter, []byte(got.Stdout), 0o600))
	require.Contains(t, play(t, "read", "-dir", dir, "-as", "luis", "-stranger", letter), `"from standard input"`)

	for _, args := range [][]string{
		{"card"},
		{"card", "-dir", dir, "-name", "../x"},
		{"card", "-dir", dir, "-name", "x", "-file", "../x"},
		{"cards"},
		{"endorse", "-dir", dir, "-as", "ana", "-who", "luis"},
		{"write", "-dir", dir},
		{"read", "-dir", dir, "-as", "ana"},
		{"read", "-dir", dir, "-as", "ana", "a", "b"},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 2, got.Status, "%v", args)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "zz.card"), bytes.Repeat([]byte(" "), maxCardFile+1), 0o600))
	require.Contains(t, fail(t, "cards", "-dir", dir), "zz.card")
}

// The order of magnitude is what matters: a private operation of RSA costs more
// than a hundred times the symmetric cipher, on any machine.
func TestCost(t *testing.T) {
	out := play(t, "cost", "-time", "3ms")
	m := regexp.MustCompile(`RSA-2048 decrypt +\S+ +× (\S+)`).FindStringSubmatch(out)
	require.NotNil(t, m, out)
	ratio, err := strconv.ParseFloat(m[1], 64)
	require.NoError(t, err)
	require.Greater(t, ratio, 20.0, out)
	require.Contains(t, out, "5519 pieces of 190 bytes")
}

func TestMeasure(t *testing.T) {
	broken := errors.New("broken")
	_, err := measure(t.Context(), func() error { return broken }, time.Millisecond)
	require.ErrorIs(t, err, broken)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = measure(gone, func() error { return nil }, time.Hour)
	require.ErrorIs(t, err, context.Canceled)
}

// openssl reads our private keys and agrees that the card is signed.
func TestOpenSSL(t *testing.T) {
	openssl := interop.Program(t, "openssl", "openssl")
	_, all := people(t, "ana")
	ana := all["ana"]
	data, err := ana.privateKeys()
	require.NoError(t, err)
	dir := t.TempDir()
	for _, kind := range []string{"X25519", "ED25519"} {
		block, rest := pem.Decode(data)
		data = rest
		cmd := exec.CommandContext(t.Context(), openssl, "pkey", "-noout", "-text")
		cmd.Stdin = bytes.NewReader(pem.EncodeToMemory(block))
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), kind+" Private-Key")
	}
	public, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(ana.Verify))
	require.NoError(t, err)
	for name, content := range map[string][]byte{
		"key": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), "signed": ana.signed("self"), "signature": ana.Self,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	out, err := exec.CommandContext(t.Context(), openssl, "pkeyutl", "-verify", "-pubin", "-inkey", filepath.Join(dir, "key"), "-rawin",
		"-in", filepath.Join(dir, "signed"), "-sigfile", filepath.Join(dir, "signature")).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

func FuzzParseCard(f *testing.F) {
	_, all := people(f, "ana", "luis")
	all["luis"].endorse(all["ana"].card)
	data, err := all["ana"].encode()
	require.NoError(f, err)
	f.Add(data)
	f.Add([]byte(`{"name":"ana","seal":"AAAA","verify":"AAAA","self":""}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseCard(data)
		if err != nil {
			require.ErrorIs(t, err, errCard)
			return
		}
		again, err := c.encode()
		require.NoError(t, err)
		same, err := parseCard(again)
		require.NoError(t, err)
		require.Equal(t, c.fingerprint(), same.fingerprint())
		require.True(t, json.Valid(again))
	})
}

func FuzzRead(f *testing.F) {
	r, all := people(f, "ana", "luis")
	letter, err := all["ana"].write(all["luis"].card, []byte("hola"))
	require.NoError(f, err)
	f.Add(letter)
	content := slices.Concat(make([]byte, letterHead), []byte("hola"))
	f.Add(content)
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, text, err := all["luis"].read(r, data); err == nil {
			require.Equal(t, "hola", string(text), "only Ana's own letter opens")
		}
		// The same bytes inside a genuine seal, which anybody can make.
		sealed, err := sealFor(all["luis"].card, data)
		require.NoError(t, err)
		_, _, err = all["luis"].read(r, sealed)
		require.Error(t, err, fmt.Sprintf("%x", data))
	})
}
