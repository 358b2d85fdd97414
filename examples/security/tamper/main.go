// T6 tamper: messages on their way through the hands of somebody who changes
// them. A checksum notices accidents, a keyed hash or a signature also malice,
// and a cipher alone keeps a secret and notices nothing.
package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/framing"
	"github.com/zocalo-go/zocalo/tlsx"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "tamper",
		Summary: "Checksum, keyed hash, signature and encryption against a relay that changes messages.",
		Example: `
go run ./examples/security/tamper table
go run ./examples/security/tamper keys -dir keys
go run ./examples/security/tamper server -port 7001 -protect hmac -keys keys
go run ./examples/security/tamper relay -port 7002 -to 127.0.0.1:7001 -attack forge
go run ./examples/security/tamper client -port 7002 -protect hmac -keys keys -text "pay 20 euros to luis"
`,
		Commands: []cli.Command{
			{Name: "keys", Summary: "makes a shared key and a pair for signatures", Setup: makeKeys},
			{Name: "server", Summary: "receives messages and says which it accepts", Setup: server},
			{Name: "client", Summary: "sends lines, from -text or standard input, protected", Setup: client},
			{Name: "relay", Summary: "stands between them and changes what passes", Setup: relay},
			{Name: "table", Summary: "tries every attack on every protection", Setup: table},
			{Name: "demo", Summary: "a few of them over the network, then the table", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

// The files of a directory of keys, and the types of PEM for those that have no
// standard one.
const (
	sharedFile  = "shared.key" // both ends; nobody else
	privateFile = "sign.key"   // the sender alone
	publicFile  = "sign.pub"   // anybody
	sharedType  = "ZOCALO SHARED KEY"
	publicType  = "PUBLIC KEY"
	sharedSize  = 32
)

func makeKeys(fs *flag.FlagSet) cli.Action {
	dir := fs.String("dir", "", "write the keys into this `directory`")
	return func(_ context.Context, env *cli.Env) error {
		if *dir == "" {
			return cli.Usagef("-dir says where to write the keys; it is missing")
		}
		if err := os.MkdirAll(*dir, 0o700); err != nil {
			return err
		}
		shared := make([]byte, sharedSize)
		rand.Read(shared) // never fails (crypto/rand)
		key, err := tlsx.NewKey(tlsx.Ed25519)
		if err != nil {
			return err
		}
		private, err := tlsx.EncodeKey(key, nil)
		if err != nil {
			return err
		}
		public, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			return err
		}
		for _, f := range []struct {
			name string
			data []byte
			mode os.FileMode
			who  string
		}{
			{sharedFile, pem.EncodeToMemory(&pem.Block{Type: sharedType, Bytes: shared}), 0o600, "sender and receiver, and nobody else"},
			{privateFile, private, 0o600, "the sender alone"},
			{publicFile, pem.EncodeToMemory(&pem.Block{Type: publicType, Bytes: public}), 0o644, "anybody"},
		} {
			if err := tlsx.WriteFile(filepath.Join(*dir, f.name), f.data, f.mode, false); err != nil {
				return err
			}
			fmt.Fprintf(env.Stdout, "%s: for %s\n", f.name, f.who)
		}
		return nil
	}
}

// loadKeys reads what one end needs for p, and no more: a receiver has no use
// for the key that signs.
func loadKeys(dir string, p protection, sending bool) (*keys, error) {
	k := new(keys)
	file := ""
	switch {
	case p == keyed || p == stream || p == sealed:
		file = sharedFile
	case p == signature && sending:
		file = privateFile
	case p == signature:
		file = publicFile
	default:
		return k, nil
	}
	if dir == "" {
		return nil, cli.Usagef("%v needs keys: -keys names their directory", p)
	}
	data, err := tlsx.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return nil, err
	}
	if err := k.parse(file, data); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, file), err)
	}
	return k, nil
}

// parse takes a key from the contents of the file so called.
func (k *keys) parse(file string, data []byte) error {
	if file == privateFile {
		key, err := tlsx.ParseKey(data, "")
		if err != nil {
			return err
		}
		private, ok := key.(ed25519.PrivateKey)
		if !ok {
			return fmt.Errorf("a key of type %T, want Ed25519", key)
		}
		k.private = private
		return nil
	}
	block, rest := pem.Decode(data)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return errors.New("not one block of PEM")
	}
	if file == sharedFile {
		if block.Type != sharedType || len(block.Bytes) != sharedSize {
			return fmt.Errorf("a block %q of %d bytes, want %q of %d", block.Type, len(block.Bytes), sharedType, sharedSize)
		}
		return k.derive(block.Bytes)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return err
	}
	public, ok := key.(ed25519.PublicKey)
	if !ok || block.Type != publicType {
		return fmt.Errorf("a %q of type %T, want Ed25519", block.Type, key)
	}
	k.public = public
	return nil
}

func dice(seed uint64) *mrand.Rand { return mrand.New(mrand.NewPCG(seed, 0)) }

// letter is what the table's sender sends.
var letter = []string{"pay 20 euros to luis", "pay 30 euros to rosa", "buy bread"}

func table(fs *flag.FlagSet) cli.Action {
	seed := cli.Number(fs, "seed", int64(1), 0, 1<<62, "a `number` that chooses the bits to flip")
	return func(ctx context.Context, env *cli.Env) error {
		k := new(keys)
		shared := make([]byte, sharedSize)
		rand.Read(shared)
		if err := k.derive(shared); err != nil {
			return err
		}
		var err error
		if k.public, k.private, err = ed25519.GenerateKey(rand.Reader); err != nil {
			return err
		}
		out := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintf(out, "protection\tbytes\tlistener\t%s\n", strings.Join(attacks[1:], "\t"))
		for p := range protection(len(names)) {
			row := []string{p.String(), fmt.Sprintf("+%d", overhead(p)), "reads"}
			if p == stream || p == sealed {
				row[2] = "reads not"
			}
			for _, attack := range attacks {
				got, err := try(ctx, p, k, attack, uint64(*seed))
				if err != nil {
					return err
				}
				if attack == "none" {
					if got != "passed" {
						return fmt.Errorf("%v: without an attack: %s", p, got)
					}
					continue
				}
				row = append(row, got)
			}
			fmt.Fprintln(out, strings.Join(row, "\t"))
		}
		return out.Flush()
	}
}

// try plays one attack on one protection, all three parties with real messages
// over connections in memory, and says how it ended: "noticed", "FOOLED" if the
// receiver took something else for what was sent, "passed" if nothing was
// changed.
func try(ctx context.Context, p protection, k *keys, attack string, seed uint64) (string, error) {
	const limit = 5 * time.Second
	fromClient, toRelay := net.Pipe()
	fromRelay, toServer := net.Pipe()
	sender, in := framing.NewConn(fromClient, nil, config(limit)), framing.NewConn(toRelay, nil, config(limit))
	out, receiver := framing.NewConn(fromRelay, nil, config(limit)), framing.NewConn(toServer, nil, config(limit))
	// Each only has the keys that are his.
	senders := &keys{mac: k.mac, stream: k.stream, aead: k.aead, private: k.private}
	receivers := &keys{mac: k.mac, stream: k.stream, aead: k.aead, public: k.public}

	var accepted []string
	var noticed, sending error
	var wg sync.WaitGroup
	wg.Go(func() {
		noticed = accept(ctx, receiver, p, receivers, func(_ uint32, text []byte) { accepted = append(accepted, string(text)) })
		receiver.Close()
	})
	wg.Go(func() {
		a := &attacker{attack: attack, on: 1, old: "luis", new: "evan", known: letter[0], dice: dice(seed)}
		pass(ctx, in, out, a, func(string, ...any) {})
		in.Close()
	})
	_, sending = transmit(ctx, sender, p, senders, func(yield func(string, error) bool) {
		for _, text := range letter {
			if !yield(text, nil) {
				return
			}
		}
	}, func(uint32, string, []byte) {})
	sender.Close()
	wg.Wait()
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case errors.Is(noticed, errForged):
		return "noticed", nil
	case noticed != nil:
		return "", noticed
	case !slices.Equal(accepted, letter):
		return "FOOLED", nil
	case sending != nil && !errors.Is(sending, io.EOF) && !errors.Is(sending, io.ErrClosedPipe):
		return "", sending // the verdict is not sent here: the end of the stream is expected
	}
	return "passed", nil
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		dir, err := os.MkdirTemp("", "tamper")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if _, err := env.Play(ctx, "", "keys", "-dir", dir); err != nil {
			return err
		}
		for _, act := range []struct {
			protect, attack string
			noticed         bool
		}{
			{"checksum", "noise", true},
			{"checksum", "forge", false},
			{"hmac", "forge", true},
			{"signature", "forge", true},
			{"cipher", "forge", false},
			{"aead", "forge", true},
		} {
			fmt.Fprintf(env.Stdout, "--- %s against %s\n", act.attack, act.protect)
			srv, err := env.Start(ctx, "server", "-port", "0", "-protect", act.protect, "-keys", dir)
			if err != nil {
				return err
			}
			defer srv.Stop()
			mallory, err := env.Start(ctx, "relay", "-port", "0", "-to", srv.Addr, "-attack", act.attack)
			if err != nil {
				return err
			}
			defer mallory.Stop()
			_, err = env.Play(ctx, "", "client", "-port", mallory.Port(), "-protect", act.protect, "-keys", dir, "-text", letter[0])
			if err != nil {
				fmt.Fprintf(env.Stdout, "  client: %s\n", cli.Explain(err))
			}
			if act.noticed != (err != nil) {
				return fmt.Errorf("%s against %s: noticed should be %v", act.attack, act.protect, act.noticed)
			}
			if err := errors.Join(mallory.Stop(), srv.Stop()); err != nil {
				return err
			}
		}
		out, err := env.Play(ctx, "", "table")
		if err != nil {
			return err
		}
		for line := range strings.Lines(out) {
			fields := strings.Fields(line)
			keyedOne := slices.Contains([]string{"hmac", "signature", "aead"}, fields[0])
			if fields[0] != "protection" && keyedOne == strings.Contains(line, "FOOLED") {
				return fmt.Errorf("not as it should be: %s", line)
			}
		}
		return nil
	}
}
