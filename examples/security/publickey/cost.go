package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"flag"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// oaepMost is what RSA of 2048 bits encrypts at most with OAEP and SHA-256: 256
// bytes of modulus less two hashes and two (RFC 8017 section 7.1.1).
const oaepMost = 256 - 2*sha256.Size - 2

// An operation is something to be measured.
type operation struct {
	name string
	do   func() error
}

func cost(fs *flag.FlagSet) cli.Action {
	budget := cli.Number(fs, "time", 50*time.Millisecond, time.Millisecond, 10*time.Second, "measure each operation for about this `time`")
	return func(ctx context.Context, env *cli.Env) error {
		text := make([]byte, oaepMost)
		rand.Read(text) // never fails (crypto/rand)
		list, err := operations(text)
		if err != nil {
			return err
		}
		out := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintf(out, "on %d bytes\ttime\tagainst AES\t\n", len(text))
		took := make(map[string]time.Duration)
		for i, op := range list {
			d, err := measure(ctx, op.do, *budget)
			if err != nil {
				return fmt.Errorf("%s: %w", op.name, err)
			}
			took[op.name] = d
			ratio := "1"
			if i > 0 {
				ratio = fmt.Sprintf("× %.3g", float64(d)/float64(took[list[0].name]))
			}
			fmt.Fprintf(out, "%s\t%v\t%s\t\n", op.name, d.Round(10*time.Nanosecond), ratio)
		}
		if err := out.Flush(); err != nil {
			return err
		}
		large := make([]byte, 1<<20)
		whole, err := measure(ctx, func() error { return encrypt(large) }, *budget)
		if err != nil {
			return err
		}
		pieces := (len(large) + oaepMost - 1) / oaepMost
		slow := time.Duration(pieces) * took["RSA-2048 decrypt"]
		_, err = fmt.Fprintf(env.Stdout, "1 MiB: with AES %v; to decrypt it with RSA alone, %d pieces of %d bytes, would take about %v, %.3g times as long\n",
			whole.Round(time.Microsecond), pieces, oaepMost, slow.Round(time.Millisecond), float64(slow)/float64(whole))
		return err
	}
}

// encrypt is what a symmetric cipher does: AES-256-GCM with a fresh key.
func encrypt(text []byte) error {
	var key [32]byte
	rand.Read(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return err
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return err
	}
	gcm.Seal(nil, nil, text, nil)
	return nil
}

// operations are those to compare, the symmetric cipher first.
func operations(text []byte) ([]operation, error) {
	var key [32]byte
	rand.Read(key[:])
	key2048, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	sealed, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, &key2048.PublicKey, text, nil)
	if err != nil {
		return nil, err
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	signature := ed25519.Sign(private, text)
	mine, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	kem, err := mlkem.GenerateKey768()
	if err != nil {
		return nil, err
	}
	_, capsule := kem.EncapsulationKey().Encapsulate()
	return []operation{
		{"AES-256-GCM encrypt", func() error { return encrypt(text) }},
		{"HMAC-SHA-256", func() error {
			h := hmac.New(sha256.New, key[:])
			h.Write(text)
			h.Sum(nil)
			return nil
		}},
		{"Ed25519 sign", func() error { ed25519.Sign(private, text); return nil }},
		{"Ed25519 verify", func() error {
			if !ed25519.Verify(public, text, signature) {
				return fmt.Errorf("the signature does not fit")
			}
			return nil
		}},
		{"X25519 agree", func() error { _, err := mine.ECDH(mine.PublicKey()); return err }},
		{"ML-KEM-768 decapsulate", func() error { _, err := kem.Decapsulate(capsule); return err }},
		{"RSA-2048 encrypt", func() error {
			_, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, &key2048.PublicKey, text, nil)
			return err
		}},
		{"RSA-2048 decrypt", func() error { _, err := rsa.DecryptOAEP(sha256.New(), nil, key2048, sealed, nil); return err }},
		{"Ed25519 make keys", func() error { _, _, err := ed25519.GenerateKey(rand.Reader); return err }},
	}, nil
}

// measure returns how long f takes: the best of several rounds, since whatever
// else the machine does can only make it slower.
func measure(ctx context.Context, f func() error, budget time.Duration) (time.Duration, error) {
	if err := f(); err != nil { // also warms up
		return 0, err
	}
	const rounds = 5
	best := time.Duration(1<<63 - 1)
	count := 1
	for end := time.Now().Add(budget); ; {
		start := time.Now()
		for range count {
			if err := f(); err != nil {
				return 0, err
			}
		}
		took := time.Since(start)
		best = min(best, took/time.Duration(count))
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		if time.Now().After(end) {
			return best, nil
		}
		if took < budget/rounds {
			count *= 2
		}
	}
}
