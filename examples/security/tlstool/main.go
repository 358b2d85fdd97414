// T7 tlstool: makes a folder of good and faulty certificates, and serves and
// connects over TLS in the manner of openssl's s_server and s_client. When
// either side refuses the other it says why, in one word and in many.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/tlsx"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "tlstool",
		Summary: "Makes good and faulty certificates, serves and connects, and says why a handshake was refused.",
		Example: `
go run ./examples/security/tlstool make certs
go run ./examples/security/tlstool serve -listen 127.0.0.1:4433 -cert certs/expired-chain.pem -key certs/expired-key.pem
go run ./examples/security/tlstool connect -connect 127.0.0.1:4433 -name localhost -ca certs/root.pem
`,
		Commands: []cli.Command{
			{Name: "make", Summary: "fills the folder DIR with certificates and keys", Args: "DIR", Setup: makeDir},
			{Name: "serve", Summary: "sends back what clients send, over TLS", Setup: serve},
			{Name: "connect", Summary: "sends standard input over TLS and prints what comes back", Setup: connect},
			{Name: "demo", Summary: "shows every reason for a refusal, on both sides", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

// A refusal says that a handshake failed, and why. It is the line of JSON that
// -json prints, and the error that it is otherwise.
type refusal struct {
	Reason      tlsx.Reason `json:"reason"`
	By          string      `json:"by"`                    // who refused: "client" or "server"
	Peer        string      `json:"peer"`                  // the other side's address
	Detail      string      `json:"detail,omitempty"`      // the values that did not fit
	Rule        string      `json:"rule,omitempty"`        // where it is written that they should
	Certificate string      `json:"certificate,omitempty"` // the one at fault
	Alert       uint8       `json:"alert,omitempty"`       // how the other side said it
	Inferred    bool        `json:"inferred,omitempty"`    // it did not quite say it
}

// refusalOf returns the refusal in an error that a connection of role "client"
// or "server" gave; nil if the error is none.
func refusalOf(err error, role string, peer net.Addr) *refusal {
	e, ok := errors.AsType[*tlsx.RefusalError](err)
	if !ok {
		return nil
	}
	r := &refusal{
		Reason: e.Reason, By: role, Peer: peer.String(),
		Detail: e.Detail, Rule: e.Rule, Alert: e.Alert, Inferred: e.Inferred,
	}
	if e.Remote || e.Reason == tlsx.CutOff {
		r.By = map[string]string{"client": "server", "server": "client"}[role]
	}
	if e.Cert != nil {
		r.Certificate = tlsx.Title(e.Cert)
	}
	return r
}

// Error says it in words.
func (r *refusal) Error() string {
	s := fmt.Sprintf("the %s refuses: %s", r.By, r.Reason)
	if r.Detail != "" {
		s += ": " + r.Detail
	}
	if r.Rule != "" {
		s += " (" + r.Rule + ")"
	}
	return s
}

// writeJSON prints the refusal as one line of JSON.
func (r *refusal) writeJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(r)
}

// tlsFlags are the flags that serve and connect share.
type tlsFlags struct {
	json      *bool
	cert, key *string
	password  *string
	low, high *string
}

func addTLSFlags(fs *flag.FlagSet) *tlsFlags {
	return &tlsFlags{
		json:     fs.Bool("json", false, "tell a refusal as one line of JSON on standard output"),
		cert:     fs.String("cert", "", "`file` with our certificate and then its intermediates, PEM"),
		key:      fs.String("key", "", "`file` with our private key, PEM"),
		password: fs.String("password-file", "", "`file` whose first line opens the key, if it is encrypted"),
		low:      cli.Choice(fs, "min", "1.2", "lowest version of TLS", "1.2", "1.3"),
		high:     cli.Choice(fs, "max", "1.3", "highest version of TLS", "1.2", "1.3"),
	}
}

var versions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// identity returns what -cert and -key name, nil if they name nothing.
func (f *tlsFlags) identity() (*tlsx.Identity, error) {
	if versions[*f.low] > versions[*f.high] {
		return nil, cli.Usagef("-min %s is above -max %s", *f.low, *f.high)
	}
	switch {
	case *f.cert == "" && *f.key == "":
		return nil, nil
	case *f.cert == "" || *f.key == "":
		return nil, cli.Usagef("-cert and -key go together")
	}
	id := &tlsx.Identity{ChainFile: *f.cert, KeyFile: *f.key}
	if *f.password != "" {
		data, err := tlsx.ReadFile(*f.password)
		if err != nil {
			return nil, err
		}
		id.Passphrase = firstLine(string(data))
	}
	return id, nil
}

// firstLine returns a text up to its first line end.
func firstLine(s string) string {
	for i, c := range s {
		if c == '\n' || c == '\r' {
			return s[:i]
		}
	}
	return s
}

// authorities reads a file of certificates.
func authorities(name string) ([]*x509.Certificate, error) {
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

// hostPort is the value of a flag: a host and a port.
type hostPort string

func (a *hostPort) String() string { return string(*a) }

func (a *hostPort) Set(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return errors.New("want HOST:PORT, such as 127.0.0.1:4433 or [::1]:4433")
	}
	*a = hostPort(s)
	return nil
}

// heard is a connection that remembers what came over it.
type heard struct {
	*net.TCPConn
	anything atomic.Bool // at least a byte
	ended    atomic.Bool // the other side closed TCP, and we have read that far
}

func (h *heard) Read(p []byte) (int, error) {
	n, err := h.TCPConn.Read(p)
	if n > 0 {
		h.anything.Store(true)
	}
	if err == io.EOF {
		h.ended.Store(true)
	}
	return n, err
}

// session describes a connection after its handshake.
func session(conn *tlsx.Conn) string {
	state := conn.ConnectionState()
	s := tls.VersionName(state.Version) + ", " + tls.CipherSuiteName(state.CipherSuite)
	if state.CurveID != 0 {
		s += ", " + state.CurveID.String()
	}
	if state.DidResume {
		s += ", resumed"
	}
	if len(state.PeerCertificates) == 0 {
		return s + ", no certificate from the other side"
	}
	return s + fmt.Sprintf(", the other side is %q", tlsx.Title(state.PeerCertificates[0]))
}
