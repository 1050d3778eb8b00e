// Loaded before a judge: it listens on a free port of this machine instead of its own, says which, and logs a value a line.
const net = require('net')
const { inspect } = require('util')

const listen = net.Server.prototype.listen
net.Server.prototype.listen = function (_port, ...rest) {
  this.once('listening', () => console.log(`PORT ${this.address().port}`))
  return listen.call(this, 0, '127.0.0.1', ...rest)
}
Object.assign(inspect.defaultOptions, { breakLength: Infinity, compact: true, depth: null })
