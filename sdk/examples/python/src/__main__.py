import checksums
import pintle

pintle.serve(checksums.Plugin())
