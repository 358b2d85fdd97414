package main

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/tlsx"
)

func roots(fs *flag.FlagSet) cli.Action {
	from := fs.String("file", "", "`file` to list instead of the system's store")
	match := fs.String("match", "", "list only those with this `text` in their subject")
	return func(ctx context.Context, env *cli.Env) error {
		var certs []*x509.Certificate
		var err error
		if *from == "" {
			if certs, err = tlsx.SystemRoots(); err != nil {
				return noSuchStore(err)
			}
		} else if certs, err = readCertificates(*from); err != nil {
			return err
		}
		total := len(certs)
		certs = slices.DeleteFunc(certs, func(c *x509.Certificate) bool {
			return !strings.Contains(strings.ToLower(c.Subject.String()), strings.ToLower(*match))
		})
		slices.SortFunc(certs, func(a, b *x509.Certificate) int {
			return cmp.Or(cmp.Compare(tlsx.Title(a), tlsx.Title(b)), a.NotAfter.Compare(b.NotAfter))
		})
		table := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintf(table, "authority\tkey\tuntil\tSHA-256\n")
		kinds := make(map[string]int)
		over := 0
		for _, c := range certs {
			kinds[keyKind(c)]++
			until := c.NotAfter.UTC().Format(time.DateOnly)
			if time.Now().After(c.NotAfter) {
				until += ", over"
				over++
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%.23s…\n", tlsx.Title(c), keyKind(c), until, tlsx.Fingerprint(c))
		}
		if err := table.Flush(); err != nil {
			return err
		}
		var list []string
		for kind, n := range kinds {
			list = append(list, fmt.Sprintf("%d %s", n, kind))
		}
		slices.Sort(list)
		summary := strings.Join(list, ", ")
		if over > 0 {
			summary += fmt.Sprintf("; %d over", over)
		}
		if summary == "" {
			summary = "none"
		}
		_, err = fmt.Fprintf(env.Stdout, "%d of %d: %s\n", len(certs), total, summary)
		return err
	}
}

// keyKind names the kind of a key and its size.
func keyKind(c *x509.Certificate) string {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", key.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + key.Params().Name
	}
	return c.PublicKeyAlgorithm.String()
}

func serve(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, 0)
	cert := fs.String("cert", "", "`file` with the chain to send, the server's certificate first")
	key := fs.String("key", "", "`file` with its private key")
	return func(ctx context.Context, env *cli.Env) error {
		if *cert == "" || *key == "" {
			return cli.Usagef("a server needs -cert and -key")
		}
		server := &tlsx.Server{Identities: []*tlsx.Identity{{ChainFile: *cert, KeyFile: *key}}}
		cfg, err := server.Config()
		if err != nil {
			return err
		}
		var config net.ListenConfig
		ln, err := config.Listen(ctx, "tcp", addr.String())
		if err != nil {
			return err
		}
		defer ln.Close()
		if err := env.Listening(ln.Addr()); err != nil {
			return err
		}
		return handshakes(ctx, ln, cfg)
	}
}

// maxConns bounds the handshakes at a time.
const maxConns = 64

// handshakes does a handshake with everybody and hangs up, until ctx ends.
func handshakes(ctx context.Context, ln net.Listener, cfg *tls.Config) error {
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, maxConns)
	for {
		nc, err := ln.Accept()
		if ctx.Err() != nil {
			if err == nil {
				nc.Close()
			}
			return nil
		}
		if err != nil {
			return err
		}
		slots <- struct{}{} // each is given back within ten seconds
		wg.Go(func() {
			defer func() { <-slots }()
			defer nc.Close()
			limit, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			conn := tls.Server(nc, cfg)
			if conn.HandshakeContext(limit) == nil {
				_ = conn.Close() // says goodbye; whether it arrives does not matter
			}
		})
	}
}
