// T1 pki: the course's walk through openssl, in Go. An authority gets a key and
// signs its own certificate; jose gets a key and asks to be certified; the
// authority signs, anybody verifies. Further on: who checked that it was
// jose, and how a certificate is taken back.
package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/tlsx"
)

const day = 24 * time.Hour

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "pki",
		Summary: "Keys, an authority, a request, a certificate: the openssl walk-through in Go.",
		Example: `
go run ./examples/security/pki key -out ca-key.pem
go run ./examples/security/pki ca -key ca-key.pem -subject /O=Zocalo/CN=authority -out ca.pem
go run ./examples/security/pki key -out jose-key.pem
go run ./examples/security/pki request -key jose-key.pem -subject /O=Zocalo/CN=jose -names jose@zocalo.test -out jose-request.pem
go run ./examples/security/pki sign -ca ca.pem -ca-key ca-key.pem -request jose-request.pem -out jose.pem
go run ./examples/security/pki verify -ca ca.pem jose.pem
`,
		Commands: []cli.Command{
			{Name: "key", Summary: "makes a private key", Setup: makeKey},
			{Name: "ca", Summary: "makes an authority: a certificate that signs itself", Setup: makeCA},
			{Name: "request", Summary: "asks for a certificate for a key", Setup: request},
			{Name: "register", Summary: "notes who has checked who the applicant is", Setup: register},
			{Name: "sign", Summary: "has the authority certify the key of a request", Setup: sign},
			{Name: "view", Summary: "shows what is in PEM files, private keys too", Args: "FILE...", Setup: view},
			{Name: "verify", Summary: "verifies a certificate, or says why not", Args: "FILE", Setup: verify},
			{Name: "encrypt", Summary: "locks a private key with a passphrase", Setup: encrypt},
			{Name: "decrypt", Summary: "unlocks a private key", Setup: decrypt},
			{Name: "revoke", Summary: "takes certificates back: writes the authority's next list", Args: "[FILE...]", Setup: revoke},
			{Name: "ocsp", Summary: "answers over HTTP whether a certificate has been taken back", Setup: ocsp},
			{Name: "demo", Summary: "plays all of it", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

// needed returns a usage error that names the flags without a value.
func needed(fs *flag.FlagSet, names ...string) error {
	var missing []string
	for _, name := range names {
		if fs.Lookup(name).Value.String() == "" {
			missing = append(missing, "-"+name)
		}
	}
	if len(missing) > 0 {
		return cli.Usagef("missing: %s", strings.Join(missing, ", "))
	}
	return nil
}

// A subject is the value of a flag in openssl's form, /O=Zocalo/CN=jose.
type subject struct{ name pkix.Name }

func (s *subject) String() string {
	if s == nil {
		return ""
	}
	return s.name.String()
}

func (s *subject) Set(text string) error {
	var name pkix.Name
	lists := map[string]*[]string{
		"C": &name.Country, "ST": &name.Province, "L": &name.Locality,
		"O": &name.Organization, "OU": &name.OrganizationalUnit,
	}
	rest, ok := strings.CutPrefix(text, "/")
	if !ok {
		return errors.New("want /ATTRIBUTE=VALUE and so on, such as /C=MX/O=Zocalo/CN=jose")
	}
	for part := range strings.SplitSeq(rest, "/") {
		key, value, _ := strings.Cut(part, "=")
		list := lists[key]
		switch {
		case value == "" || len(value) > 64: // RFC 5280 appendix A.1: ub-common-name and its like
			return fmt.Errorf("%q is no ATTRIBUTE=VALUE of 1 to 64 bytes", part)
		case key == "C" && len(value) != 2:
			return fmt.Errorf("the country %q is no code of two letters", value)
		case key == "CN" && name.CommonName == "":
			name.CommonName = value
		case list != nil:
			*list = append(*list, value)
		default:
			return fmt.Errorf("%q: the attributes are C, ST, L, O, OU and, once, CN", key)
		}
	}
	s.name = name
	return nil
}

// passphrase reads the first line of a file, or of standard input for "-". A
// command line would show it to everybody who lists the processes.
func passphrase(env *cli.Env, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	var data []byte
	var err error
	if name == "-" {
		data, err = io.ReadAll(io.LimitReader(env.Stdin, 64<<10))
	} else {
		data, err = tlsx.ReadFile(name)
	}
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(data), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", fmt.Errorf("the first line of %s is empty, and that is no passphrase", name)
	}
	return line, nil
}

func passphraseFlag(fs *flag.FlagSet, what string) *string {
	return fs.String("passphrase-file", "", "`file` whose first line "+what+"; - is standard input")
}

// readKey reads a private key.
func readKey(env *cli.Env, name, passphraseFile string) (crypto.Signer, error) {
	phrase, err := passphrase(env, passphraseFile)
	if err != nil {
		return nil, err
	}
	data, err := tlsx.ReadFile(name)
	if err != nil {
		return nil, err
	}
	key, err := tlsx.ParseKey(data, phrase)
	if err != nil {
		return nil, fmt.Errorf("%w (%s)", err, name)
	}
	return key, nil
}

// writeNew writes a file that must not be there and says so.
func writeNew(env *cli.Env, name string, data []byte, mode fs.FileMode) error {
	err := tlsx.WriteFile(name, data, mode, false)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already, and is not replaced", name)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.Stdout, "wrote %s\n", name)
	return err
}

// writeKey writes a private key, locked if there is a passphrase.
func writeKey(env *cli.Env, name string, key crypto.Signer, phrase string, scrypt bool) error {
	var lock *tlsx.Encryption
	if phrase != "" {
		lock = &tlsx.Encryption{Passphrase: phrase, Scrypt: scrypt}
	}
	data, err := tlsx.EncodeKey(key, lock)
	if err != nil {
		return err
	}
	return writeNew(env, name, data, 0o600)
}

func makeKey(fs *flag.FlagSet) cli.Action {
	out := fs.String("out", "", "`file` to write, which only you can read")
	kind := cli.Choice(fs, "type", string(tlsx.ECDSAP256), "kind of the key",
		string(tlsx.ECDSAP256), string(tlsx.ECDSAP384), string(tlsx.Ed25519), string(tlsx.RSA2048), string(tlsx.RSA3072), string(tlsx.RSA4096))
	phraseFile := passphraseFlag(fs, "locks the key")
	return func(ctx context.Context, env *cli.Env) error {
		if err := needed(fs, "out"); err != nil {
			return err
		}
		phrase, err := passphrase(env, *phraseFile)
		if err != nil {
			return err
		}
		key, err := tlsx.NewKey(tlsx.KeyType(*kind))
		if err != nil {
			return err
		}
		return writeKey(env, *out, key, phrase, false)
	}
}

func makeCA(fs *flag.FlagSet) cli.Action {
	keyFile := fs.String("key", "", "`file` with the authority's private key")
	phraseFile := passphraseFlag(fs, "opens that key")
	var name subject
	fs.Var(&name, "subject", "who it is, such as `/C=MX/O=Zocalo/CN=authority`")
	days := cli.Number(fs, "days", 3650, 1, 36500, "valid for so many `days`")
	out := fs.String("out", "", "`file` to write")
	return func(ctx context.Context, env *cli.Env) error {
		if err := needed(fs, "key", "subject", "out"); err != nil {
			return err
		}
		key, err := readKey(env, *keyFile, *phraseFile)
		if err != nil {
			return err
		}
		a, err := tlsx.NewAuthority(tlsx.Template{
			Subject: name.name, Key: key, NotAfter: time.Now().Add(time.Duration(*days) * day),
			PathLen: new(0), // it certifies holders, and no further authorities
		})
		if err != nil {
			return err
		}
		return writeNew(env, *out, tlsx.EncodeCertificates(a.Cert), 0o644)
	}
}

func request(fs *flag.FlagSet) cli.Action {
	keyFile := fs.String("key", "", "`file` with the applicant's private key")
	phraseFile := passphraseFlag(fs, "opens that key")
	var name subject
	fs.Var(&name, "subject", "who it is, for people, such as `/O=Zocalo/CN=jose`")
	names := fs.String("names", "", "`names` that programs look at, with commas: hosts, addresses, mail addresses, URIs")
	out := fs.String("out", "", "`file` to write")
	return func(ctx context.Context, env *cli.Env) error {
		if err := needed(fs, "key", "subject", "names", "out"); err != nil {
			return err
		}
		key, err := readKey(env, *keyFile, *phraseFile)
		if err != nil {
			return err
		}
		req, _, err := tlsx.NewRequest(tlsx.Template{Subject: name.name, Names: strings.Split(*names, ","), Key: key})
		if err != nil {
			return err
		}
		return writeNew(env, *out, tlsx.EncodeRequest(req), 0o644)
	}
}

// readRequest reads a request and checks that it is signed with its own key.
func readRequest(name string) (*x509.CertificateRequest, error) {
	data, err := tlsx.ReadFile(name)
	if err != nil {
		return nil, err
	}
	req, err := tlsx.ParseRequest(data)
	if err != nil {
		return nil, fmt.Errorf("%w (%s)", err, name)
	}
	return req, nil
}

// readCertificates reads a file of certificates.
func readCertificates(name string) ([]*x509.Certificate, error) {
	data, err := tlsx.ReadFile(name)
	if err != nil {
		return nil, err
	}
	certs, err := tlsx.ParseCertificates(data)
	if err != nil {
		return nil, fmt.Errorf("%w (%s)", err, name)
	}
	return certs, nil
}

// caFlags name an authority and its key.
type caFlags struct{ cert, key, passphrase *string }

func addCAFlags(fs *flag.FlagSet) *caFlags {
	return &caFlags{
		cert:       fs.String("ca", "", "`file` with the authority's certificate"),
		key:        fs.String("ca-key", "", "`file` with the authority's private key"),
		passphrase: passphraseFlag(fs, "opens that key"),
	}
}

func (f *caFlags) authority(env *cli.Env) (*tlsx.Authority, error) {
	certs, err := readCertificates(*f.cert)
	if err != nil {
		return nil, err
	}
	key, err := readKey(env, *f.key, *f.passphrase)
	if err != nil {
		return nil, err
	}
	if pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(certs[0].PublicKey) {
		return nil, fmt.Errorf("%s is not the key of %s", *f.key, *f.cert)
	}
	return &tlsx.Authority{Cert: certs[0], Key: key, Issuers: certs[1:]}, nil
}

var uses = map[string][]x509.ExtKeyUsage{
	"server": {x509.ExtKeyUsageServerAuth},
	"client": {x509.ExtKeyUsageClientAuth},
	"both":   {x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	"any":    {x509.ExtKeyUsageAny},
}

func sign(fs *flag.FlagSet) cli.Action {
	ca := addCAFlags(fs)
	requestFile := fs.String("request", "", "`file` with the request")
	registerFile := fs.String("register", "", "`file` of the registration: sign only what stands there")
	use := cli.Choice(fs, "use", "client", "what the certificate is good for", "client", "server", "both")
	days := cli.Number(fs, "days", 90, 1, 825, "valid for so many `days`")
	out := fs.String("out", "", "`file` to write")
	return func(ctx context.Context, env *cli.Env) error {
		if err := needed(fs, "ca", "ca-key", "request", "out"); err != nil {
			return err
		}
		req, err := readRequest(*requestFile)
		if err != nil {
			return err
		}
		if *registerFile != "" {
			e, err := registered(*registerFile, req)
			if err != nil {
				return err
			}
			fmt.Fprintf(env.Stdout, "%s has checked it: %s\n", e.By, e.How)
		}
		a, err := ca.authority(env)
		if err != nil {
			return err
		}
		chain, err := a.Sign(req, tlsx.Template{Uses: uses[*use], NotAfter: time.Now().Add(time.Duration(*days) * day)})
		if err != nil {
			return err
		}
		return writeNew(env, *out, tlsx.EncodeCertificates(chain...), 0o644)
	}
}

func encrypt(fs *flag.FlagSet) cli.Action {
	in := fs.String("in", "", "`file` with the key")
	out := fs.String("out", "", "`file` to write")
	scrypt := fs.Bool("scrypt", false, "derive the key with scrypt, which costs an attacker memory too, instead of 600,000 rounds of PBKDF2")
	phraseFile := passphraseFlag(fs, "locks the key")
	return func(ctx context.Context, env *cli.Env) error {
		if err := needed(fs, "in", "out", "passphrase-file"); err != nil {
			return err
		}
		key, err := readKey(env, *in, "")
		if err != nil {
			return err
		}
		phrase, err := passphrase(env, *phraseFile)
		if err != nil {
			return err
		}
		return writeKey(env, *out, key, phrase, *scrypt)
	}
}

func decrypt(fs *flag.FlagSet) cli.Action {
	in := fs.String("in", "", "`file` with the locked key")
	out := fs.String("out", "", "`file` to write")
	phraseFile := passphraseFlag(fs, "opens the key")
	return func(ctx context.Context, env *cli.Env) error {
		if err := needed(fs, "in", "out", "passphrase-file"); err != nil {
			return err
		}
		key, err := readKey(env, *in, *phraseFile)
		if err != nil {
			return err
		}
		return writeKey(env, *out, key, "", false)
	}
}
