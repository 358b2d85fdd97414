package mq

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"io"
	"os/exec"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/internal/interop"
)

// pyPeer is a socket of libzmq in a Python program, see testdata/peer.py.
type pyPeer struct {
	t     *testing.T
	in    io.WriteCloser
	out   *bufio.Reader
	cmd   *exec.Cmd
	bound []string
}

// pySpec tells what the socket is to be.
type pySpec struct {
	Type      string            `json:"type"`
	Bind      []string          `json:"bind,omitempty"`
	Connect   []string          `json:"connect,omitempty"`
	Options   map[string]any    `json:"options,omitempty"`
	Subscribe []string          `json:"subscribe,omitempty"`
	Plain     map[string]string `json:"plain,omitempty"`
	Curve     bool              `json:"curve,omitempty"`
}

// pyOp is one line to the program, pyAnswer the line that comes back.
type pyOp struct {
	Op      string   `json:"op"`
	Frames  []string `json:"frames,omitempty"`
	Timeout int      `json:"timeout,omitempty"` // ms
	Count   int      `json:"count,omitempty"`
	Size    int      `json:"size,omitempty"`
	Name    string   `json:"name,omitempty"`
	Args    []any    `json:"args,omitempty"`
}

type pyAnswer struct {
	Ready  []string `json:"ready"`
	Frames []string `json:"frames"`
	Bytes  int      `json:"bytes"`
	Error  string   `json:"error"`
}

// pyzmq is looked for once.
var pyzmq struct {
	sync.Once
	err error
}

// startPy starts a peer, or skips the test on a machine without pyzmq.
func startPy(t *testing.T, spec pySpec) *pyPeer {
	t.Helper()
	python := interop.Python(t)
	pyzmq.Do(func() { pyzmq.err = exec.Command(python, "-c", "import zmq").Run() })
	if pyzmq.err != nil {
		interop.Missing(t, "no pyzmq on this machine (Debian package python3-zmq)")
	}
	arg, err := json.Marshal(spec)
	require.NoError(t, err)
	p := &pyPeer{t: t, cmd: exec.Command(python, "testdata/peer.py", string(arg))}
	p.in, err = p.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	p.cmd.Stderr = t.Output()
	p.out = bufio.NewReader(out)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(p.stop)
	p.bound = p.answer().Ready
	return p
}

func (p *pyPeer) answer() (a pyAnswer) {
	p.t.Helper()
	line, err := p.out.ReadBytes('\n')
	require.NoError(p.t, err, "the Python peer has ended")
	require.NoError(p.t, json.Unmarshal(line, &a))
	return a
}

// start begins an operation whose answer comes later.
func (p *pyPeer) start(op pyOp) {
	p.t.Helper()
	line, err := json.Marshal(op)
	require.NoError(p.t, err)
	_, err = p.in.Write(append(line, '\n'))
	require.NoError(p.t, err)
}

func (p *pyPeer) do(op pyOp) pyAnswer {
	p.t.Helper()
	p.start(op)
	return p.answer()
}

func (p *pyPeer) send(frames ...string) {
	p.t.Helper()
	op := pyOp{Op: "send"}
	for _, f := range frames {
		op.Frames = append(op.Frames, hex.EncodeToString([]byte(f)))
	}
	require.Empty(p.t, p.do(op).Error)
}

func (p *pyPeer) recv() (frames []string) {
	p.t.Helper()
	a := p.do(pyOp{Op: "recv", Timeout: 10_000})
	require.Empty(p.t, a.Error)
	for _, f := range a.Frames {
		frame, err := hex.DecodeString(f)
		require.NoError(p.t, err)
		frames = append(frames, string(frame))
	}
	return frames
}

// stop lets the peer close its socket and waits for its end.
func (p *pyPeer) stop() {
	p.in.Close()
	p.cmd.Wait()
}
