// Package requestheader believes a front proxy about who a request is from: one that shows a
// certificate of an authority made for that, and names the user in headers. It must not know
// who may be a proxy; configuration says that.
package requestheader
