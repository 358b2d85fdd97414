package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// A toyKey is an RSA key that fits on a blackboard. All of its numbers are
// below 2³², so that products of two fit in 64 bits. It protects nothing.
type toyKey struct {
	n, e uint64 // public
	d    uint64 // private, as are the three below
	p, q uint64
	phi  uint64
}

// maxPrime keeps n below 2³².
const maxPrime = 65521

// newToyKey makes a key out of two primes and a public exponent.
func newToyKey(p, q, e uint64) (*toyKey, error) {
	for _, x := range []uint64{p, q} {
		if x > maxPrime {
			return nil, fmt.Errorf("%d is over %d", x, maxPrime)
		}
		if f, _ := factor(context.Background(), x); x < 2 || f != x {
			return nil, fmt.Errorf("%d is no prime", x)
		}
	}
	if p == q {
		return nil, errors.New("p and q must differ: the root of p² is found at once")
	}
	k := &toyKey{n: p * q, e: e, p: p, q: q, phi: (p - 1) * (q - 1)}
	if k.n < 256 {
		return nil, fmt.Errorf("n = %d has no room for a byte", k.n)
	}
	if e < 3 || e >= k.phi {
		return nil, fmt.Errorf("e = %d is not between 3 and φ = %d", e, k.phi)
	}
	d, _, ok := inverse(e, k.phi)
	if !ok {
		return nil, fmt.Errorf("e = %d and φ = %d have a common factor: e has no inverse", e, k.phi)
	}
	k.d = d
	return k, nil
}

// power returns b to the x modulo n and how many multiplications it took:
// squaring again and again, one for each bit of x.
func power(b, x, n uint64) (result uint64, multiplications int) {
	result = 1
	b %= n
	for ; x > 0; x >>= 1 {
		if x&1 == 1 {
			result = result * b % n
			multiplications++
		}
		b = b * b % n
		multiplications++
	}
	return result, multiplications
}

// inverse returns the number that times e is 1 modulo m, by Euclid's algorithm,
// and its steps, and whether there is one.
func inverse(e, m uint64) (d uint64, steps int, ok bool) {
	r0, r1 := int64(m), int64(e)
	t0, t1 := int64(0), int64(1)
	for r1 != 0 {
		q := r0 / r1
		r0, r1 = r1, r0-q*r1
		t0, t1 = t1, t0-q*t1
		steps++
	}
	if r0 != 1 {
		return 0, steps, false
	}
	if t0 < 0 {
		t0 += int64(m)
	}
	return uint64(t0), steps, true
}

// factor returns the smallest factor of n, other than 1, and how many divisions
// it took to find it by trying all; 0 if ctx ended before.
func factor(ctx context.Context, n uint64) (f uint64, divisions int) {
	for f = 2; f*f <= n; f++ {
		if divisions++; n%f == 0 {
			return f, divisions
		}
		if divisions&0xfffff == 0 && ctx.Err() != nil {
			return 0, divisions
		}
	}
	return n, divisions
}

// prime returns a prime of so many bits, the highest of them set.
func prime(dice *rand.Rand, size int) uint64 {
	for {
		x := dice.Uint64N(1<<(size-1)) | 1<<(size-1) | 1
		if f, _ := factor(context.Background(), x); f == x {
			return x
		}
	}
}

func toyRSA(fs *flag.FlagSet) cli.Action {
	p := cli.Number(fs, "p", 61, 2, maxPrime, "the first secret `prime`")
	q := cli.Number(fs, "q", 53, 2, maxPrime, "the second secret `prime`")
	e := cli.Number(fs, "e", 17, 3, 1<<31, "the public `exponent`")
	text := fs.String("text", "hola", "encrypt this `text`, byte by byte")
	return func(_ context.Context, env *cli.Env) error {
		if *text == "" || len(*text) > 64 {
			return cli.Usagef("-text has %d bytes, wanted are 1 to 64", len(*text))
		}
		k, err := newToyKey(uint64(*p), uint64(*q), uint64(*e))
		if err != nil {
			return cli.Usagef("no key: %v", err)
		}
		return k.show(env.Stdout, *text)
	}
}

// show does everything by hand.
func (k *toyKey) show(out io.Writer, text string) error {
	say := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	_, steps, _ := inverse(k.e, k.phi)
	say("secret: p = %d, q = %d, φ = (p−1)(q−1) = %d", k.p, k.q, k.phi)
	say("public: n = p·q = %d, e = %d", k.n, k.e)
	say("secret: d = %d, since %d · %d mod %d = 1: %d steps of Euclid's algorithm, for who knows φ", k.d, k.e, k.d, k.phi, steps)

	say("with the public key, so that only the owner can read it: c = m^%d mod %d", k.e, k.n)
	var sealed, signed []uint64
	for _, m := range []byte(text) {
		c, multiplications := power(uint64(m), k.e, k.n)
		back, others := power(c, k.d, k.n)
		if back != uint64(m) {
			return fmt.Errorf("%d became %d", m, back)
		}
		if len(sealed) == 0 {
			say("  %q = %d: %d^%d mod %d = %d (%d multiplications), and back: %d^%d mod %d = %d (%d)", m, m, m, k.e, k.n, c, multiplications, c, k.d, k.n, back, others)
		}
		sealed = append(sealed, c)
		s, _ := power(uint64(m), k.d, k.n)
		if again, _ := power(s, k.e, k.n); again != uint64(m) {
			return fmt.Errorf("%d became %d", m, again)
		}
		signed = append(signed, s)
	}
	say("  %q → %v → %q", text, sealed, text)
	say("with the private key, so that everybody can read it, and knows whose it is: s = m^%d mod %d", k.d, k.n)
	say("  %q → %v; anybody computes s^%d mod %d and gets %q", text, signed, k.e, k.n, text)

	say("why this is a toy:")
	f, divisions := factor(context.Background(), k.n)
	say("  n = %d falls apart: %d · %d after %d divisions, and φ and d follow", k.n, f, k.n/f, divisions)
	say("  who listens encrypts all 256 bytes himself and compares: %v means %q", sealed, k.guess(sealed))
	a, b := uint64(2), uint64(3)
	ca, _ := power(a, k.e, k.n)
	cb, _ := power(b, k.e, k.n)
	product, _ := power(ca*cb%k.n, k.d, k.n)
	say("  numbers can be changed unread: the secret of %d times that of %d is %d, which opens to %d", a, b, ca*cb%k.n, product)
	return nil
}

// guess reads what was encrypted byte by byte without the private key.
func (k *toyKey) guess(sealed []uint64) string {
	var text []byte
	for _, c := range sealed {
		for m := range 256 {
			if x, _ := power(uint64(m), k.e, k.n); x == c {
				text = append(text, byte(m))
				break
			}
		}
	}
	return string(text)
}

func oneWay(fs *flag.FlagSet) cli.Action {
	limit := cli.Number(fs, "bits", 24, 8, 30, "go up to primes of so many `bits`")
	seed := cli.Number(fs, "seed", int64(1), 0, 1<<62, "a `number` that chooses the primes")
	return func(ctx context.Context, env *cli.Env) error {
		dice := rand.New(rand.NewPCG(uint64(*seed), 0))
		out := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(out, "bits of p, q\tp · q\tforth: multiplications\tback: divisions\ttime\twith p known\t")
		for size := 8; size <= *limit; size += 4 {
			p, q := prime(dice, size), prime(dice, size)
			if p > q {
				p, q = q, p
			}
			n := p * q
			start := time.Now()
			f, divisions := factor(ctx, n)
			took := time.Since(start)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if f != p {
				return fmt.Errorf("%d · %d: found the factor %d", p, q, f)
			}
			fmt.Fprintf(out, "%d\t%d · %d = %d\t1\t%d\t%v\t1 division\t\n", size, p, q, n, divisions, took.Round(time.Microsecond))
		}
		if err := out.Flush(); err != nil {
			return err
		}
		_, err := fmt.Fprintln(env.Stdout, strings.TrimSpace(fmt.Sprintf(`
four bits more make the way back sixteen times as long, the way forth not at all; for primes of %d bits
it would take about 2^%d divisions; the best known methods need fewer, and still far too many`, 1024, 1023)))
		return err
	}
}
