-- What Debian's /usr/bin/busted does, for a program that is not lua(1).
require "busted.runner" { standalone = false }
