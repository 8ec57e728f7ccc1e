package calls

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pintle-dev/pintle/sdk/protocol"
)

const (
	// pipeBytes is how much a pipe holds, where the system lets it: as much as is sent without
	// waiting, also in pages that are half full.
	pipeBytes = 128 << 10
	// dialPatience is how long a process may leave lines untaken that are opened to it.
	dialPatience = 5 * time.Second
	// maxMethod bounds the name of a method.
	maxMethod = 256
	// firstExtra is the number that the first of a command's extra files has in the process.
	firstExtra = 3
)

// Lines opens lines to one process: over a socket that the process inherits, ends of new pipes are
// handed over, one for each direction. None of them has a name, so nobody can be at the other end but
// who inherited it, and there is nothing to prove.
type Lines struct {
	mu      sync.Mutex
	control *net.UnixConn
	theirs  *os.File
	passed  sync.Once
	far     context.Context //nolint:containedctx // it is the process's
	gone    context.CancelFunc
}

// NewLines makes the socket that a process is to inherit.
func NewLines() (*Lines, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a pair of sockets: %w", err)
	}
	theirs := fileOf(fds[1])
	ours, err := connOf(fds[0])
	if err != nil {
		_ = theirs.Close()
		return nil, err
	}
	l := &Lines{control: ours, theirs: theirs}
	l.far, l.gone = context.WithCancel(context.Background())
	return l, nil
}

func fileOf(fd int) *os.File { return os.NewFile(uintptr(fd), "line") } //nolint:gosec // the kernel's numbers are not negative

// connOf takes a socket over.
func connOf(fd int) (*net.UnixConn, error) {
	f := fileOf(fd)
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("a line's socket: %w", err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		_ = c.Close()
		return nil, errors.New("a line's socket is none of this machine's own")
	}
	return u, nil
}

// Pass lets the command's process inherit the socket, and says so in its environment. Passed has
// to be called when the process has been started, or will not be.
func (l *Lines) Pass(cmd *exec.Cmd) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(l.theirs.Fd()), &st); err != nil { //nolint:gosec // a file's number fits
		return fmt.Errorf("a line's socket: %w", err)
	}
	cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d:%d", protocol.LineEnv, firstExtra+len(cmd.ExtraFiles), st.Ino))
	cmd.ExtraFiles = append(cmd.ExtraFiles, l.theirs)
	return nil
}

// Passed gives up the end that the process has inherited, so that the end of the process is seen.
func (l *Lines) Passed() {
	l.passed.Do(func() {
		_ = l.theirs.Close()
		go func() {
			// A process has nothing to say here; what comes is its end.
			_, _ = l.control.Read(make([]byte, 1))
			l.gone()
		}()
	})
}

// Close ends the opening of lines. Those that are open stay.
func (l *Lines) Close() {
	l.Passed()
	_ = l.control.Close()
}

// Dial implements [Dial].
func (l *Lines) Dial(ctx context.Context, method string) (grpc.ClientStream, error) {
	ours, theirs, err := duplex()
	if err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	defer func() { _, _ = unix.Close(theirs[0]), unix.Close(theirs[1]) }()
	until := time.Now().Add(dialPatience)
	if d, ok := ctx.Deadline(); ok && d.Before(until) {
		until = d
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.control.SetWriteDeadline(until)
	if _, _, err := l.control.WriteMsgUnix([]byte(method), unix.UnixRights(theirs[:]...), nil); err != nil {
		_ = ours.Close()
		return nil, status.Errorf(codes.Unavailable, "open a line: %v", err)
	}
	return newClientLine(ctx, l.far, ours), nil
}

// duplex makes a connection: one end, and the files to read from and to write to at the other.
func duplex() (ours *pipes, theirs [2]int, err error) {
	var there, back [2]int
	if err := unix.Pipe2(there[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, theirs, fmt.Errorf("make a pipe: %w", err)
	}
	if err := unix.Pipe2(back[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		_, _ = unix.Close(there[0]), unix.Close(there[1])
		return nil, theirs, fmt.Errorf("make a pipe: %w", err)
	}
	for _, fd := range []int{there[1], back[1]} {
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, pipeBytes) //nolint:gosec // the kernel's numbers are not negative
	}
	return &pipes{fileOf(back[0]), fileOf(there[1])}, [2]int{there[0], back[1]}, nil
}

// Inherited returns what accepts the lines that the process's host opens, nil where it opens none.
// It has to be called before the process starts others, which would inherit the socket as well.
func Inherited() (accept func() (method string, conn LineConn, err error)) {
	said := os.Getenv(protocol.LineEnv)
	_ = os.Unsetenv(protocol.LineEnv)
	number, inode, _ := strings.Cut(said, ":")
	fd, err := strconv.Atoi(number)
	if err != nil || fd < firstExtra {
		return nil
	}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK || strconv.FormatUint(st.Ino, 10) != inode {
		return nil // somebody else has started the process in between, such as a debugger, and kept it
	}
	unix.CloseOnExec(fd)
	control, err := connOf(fd)
	if err != nil {
		return nil
	}
	return func() (string, LineConn, error) { return accept1(control) }
}

// accept1 returns the next line that is opened.
func accept1(control *net.UnixConn) (method string, conn LineConn, err error) {
	name, rights := make([]byte, maxMethod), make([]byte, unix.CmsgSpace(2*4))
	for {
		n, r, _, _, err := control.ReadMsgUnix(name, rights)
		if err != nil {
			return "", nil, err //nolint:wrapcheck // the host has gone
		}
		if fds := handedOver(rights[:r]); len(fds) == 2 {
			return string(name[:n]), &pipes{fileOf(fds[0]), fileOf(fds[1])}, nil
		}
	}
}

// handedOver returns the files that came with a message.
func handedOver(rights []byte) []int {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil || len(messages) != 1 {
		return nil
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil
	}
	return fds
}
