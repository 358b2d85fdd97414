package zmq

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/mq"
)

func TestBindAndConnect(t *testing.T) {
	socket, err := mq.NewSocket(mq.PAIR, nil)
	require.NoError(t, err)
	defer socket.Close()
	var out bytes.Buffer
	require.NoError(t, Bind(t.Context(), &cli.Env{Stdout: &out}, socket, &cli.Addr{Host: "127.0.0.1"}))
	require.Regexp(t, `^listening on 127\.0\.0\.1:[1-9][0-9]*\n$`, out.String())

	_, err = Connect(socket, &cli.Addr{Host: "127.0.0.1"})
	require.ErrorAs(t, err, new(*cli.UsageError), "port 0 is for servers")
	endpoint, err := Connect(socket, &cli.Addr{Host: "::1", Port: 5555})
	require.NoError(t, err)
	require.Equal(t, "tcp://[::1]:5555", endpoint)
}

func TestPrintable(t *testing.T) {
	require.Equal(t, "ñ·[2J\uFFFD", Printable([]byte("ñ\x1b[2J\xff")))
}
