// The check of the MAC in the documents behind the dialect `session`, its three lines exactly as printed there, behind the
// smallest server that can call it. Logs each body that it believes.
const http = require('http')

const macSecret = process.env.MAC_SECRET

http.createServer((request, response) => {
  const chunks = []
  request.on('data', chunk => chunks.push(chunk))
  request.on('end', () => {
    const requestBody = Buffer.concat(chunks)
// Note: Use the provided MAC secret here
const hmac = require('crypto').createHmac('sha256', macSecret);
hmac.update(requestBody.toString(), 'ascii');
const expectedContentHmac = 'hmac-sha256=' + hmac.digest('hex');
    if (request.headers['x-wms-content-mac'] !== expectedContentHmac) return response.writeHead(401).end()
    console.log(JSON.stringify(JSON.parse(requestBody)))
    response.writeHead(204).end()
  })
}).listen(3001)
