// Package nginx runs the real nginx over a folder, for tests that compare with
// it what our own programs do.
package nginx

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/internal/interop"
)

// Start runs nginx until the end of the test and returns the address, host:port,
// at which it shows root. The test is skipped where there is no nginx.
//
// nginx cannot pick a free port and say which. So it listens on a Unix socket,
// and this process passes on what comes to a port of its own.
func Start(t testing.TB, root string) (addr string) {
	t.Helper()
	program := interop.Program(t, "nginx-light", "nginx", "/usr/sbin/nginx")
	dir, err := os.MkdirTemp("", "nginx") // t.TempDir's name may be too long for a socket
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	user := "" // that its workers run as
	if os.Geteuid() == 0 {
		user = "user root;"
	}
	conf := fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log stderr; %[3]s
events {}
http {
	access_log off;
	types { text/html html; text/plain txt; }
	default_type application/octet-stream;
	charset utf-8; charset_types text/plain text/html;
	client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
	server { listen unix:%[1]s/s; root %[2]s; index index.html; absolute_redirect off; }
}
`, dir, root, user)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "conf"), []byte(conf), 0o666))
	cmd := exec.CommandContext(t.Context(), program, "-p", dir, "-c", filepath.Join(dir, "conf"))
	var said strings.Builder
	cmd.Stderr = &said
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() { cmd.Process.Kill(); <-ended })

	dial := func() (net.Conn, error) {
		return new(net.Dialer).DialContext(t.Context(), "unix", filepath.Join(dir, "s"))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		c, err := dial()
		if err == nil {
			c.Close()
			break
		}
		select {
		case <-ended:
			require.Fail(t, "nginx does not start", said.String())
		case <-ctx.Done():
			require.Fail(t, "nginx does not listen", err)
		case <-time.After(10 * time.Millisecond):
		}
	}

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	t.Cleanup(func() { ln.Close(); cmd.Process.Kill(); wg.Wait() })
	wg.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			server, err := dial()
			if err != nil {
				client.Close()
				continue
			}
			wg.Go(func() {
				io.Copy(server, client)
				server.(*net.UnixConn).CloseWrite()
			})
			wg.Go(func() {
				io.Copy(client, server)
				client.Close() // ends the other direction too
				server.Close()
			})
		}
	})
	return ln.Addr().String()
}
