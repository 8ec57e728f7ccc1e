package protocol

// LineEnv is "NUMBER:INODE" of a socket that the plugin inherits from a host that may call it over
// lines: streams of calls on pairs of sockets of their own, beside gRPC.
const LineEnv = "PINTLE_PLUGIN_LINE"

// CapabilityLine of a point says that its calls may come over a line.
const CapabilityLine = "line"

// OverLines reports whether a point has a stream of calls, which may go over a line.
func OverLines(p Point) bool {
	switch p {
	case PointResource, PointAdmission, PointAuthentication, PointAuthorization:
		return true
	}
	return false
}
