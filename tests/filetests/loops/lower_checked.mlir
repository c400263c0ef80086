// A position from data is tested: outside is reported, and not read.
// run: lower
// kernel k(x: f32[100], ix: i64[7]) -> (y):
//   y[i] := x[ix[i]]
// expect:
// module {
//   func.func @k(%x: memref<?xf32>, %ix: memref<?xi64>, %y: memref<?xf32>, %errors: memref<?xi64>) {
//     %c0 = arith.constant 0 : index
//     %c7 = arith.constant 7 : index
//     %c1 = arith.constant 1 : index
//     %c100 = arith.constant 100 : index
//     %true = arith.constant true
//     %cst = arith.constant 0.0 : f32
//     scf.for %i = %c0 to %c7 step %c1 {
//       %0 = memref.load %ix[%i] : memref<?xi64>
//       %1 = arith.index_cast %0 : i64 to index
//       %2 = arith.cmpi ult, %1, %c100 : index
//       %3 = arith.xori %2, %true : i1
//       "tdsl.report"(%3, %errors) {site = 0 : i64} : (i1, memref<?xi64>) -> ()
//       %4 = scf.if %2 -> (f32) {
//         %5 = memref.load %x[%1] : memref<?xf32>
//         scf.yield %5 : f32
//       } else {
//         scf.yield %cst : f32
//       }
//       memref.store %4, %y[%i] : memref<?xf32>
//       scf.yield
//     } {tdsl.vector, tdsl.parallel, tdsl.cost = 3 : i64}
//     func.return
//   }
// }
