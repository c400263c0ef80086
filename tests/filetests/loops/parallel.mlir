// Chunks of an independent loop, by its shape only.
// run: lower parallel
// kernel k(x: f32[100000]) -> (y):
//   y[i] := x[i] + 1.0
// expect:
// module {
//   func.func @k(%x: memref<?xf32>, %y: memref<?xf32>, %errors: memref<?xi64>) {
//     %c0 = arith.constant 0 : index
//     %c100000 = arith.constant 100000 : index
//     %c1 = arith.constant 1 : index
//     %cst = arith.constant 1.0 : f32
//     %c10944 = arith.constant 10944 : index
//     %c10 = arith.constant 10 : index
//     %from = arith.constant 0 : index
//     %by = arith.constant 1 : index
//     "scf.parallel"(%from, %c10, %by) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
//     ^bb0(%p: index):
//       %0 = arith.muli %p, %c10944 : index
//       %1 = arith.addi %0, %c10944 : index
//       %2 = arith.minsi %1, %c100000 : index
//       scf.for %i = %0 to %2 step %c1 {
//         %3 = memref.load %x[%i] : memref<?xf32>
//         %4 = arith.addf %3, %cst : f32
//         memref.store %4, %y[%i] : memref<?xf32>
//         scf.yield
//       } {tdsl.vector}
//       scf.reduce
//     }) : (index, index, index) -> ()
//     func.return
//   }
// }
